"""`medialane partitions` as operators use it, on a real database with a history of jobs."""

import json

import psycopg
import pytest
from click.testing import CliRunner

from cli.main import medialane
from cli.partitions import material
from schemas.ids import uuid7
from schemas.topics import TOPICS

COSTS = {"hot": 80, "warm": 10, "cold": 10}  # jobs of one CPU second each


@pytest.fixture(scope="module")
def history(database):
    """Three tenants on partition 0 of everything, with finished jobs."""
    with psycopg.connect(database.owner, autocommit=True) as connection:
        for topic in TOPICS:
            connection.execute("INSERT INTO partitions (topic, kpart) SELECT %s, generate_series(0, 3)", (topic.route,))
        for slug, jobs in COSTS.items():
            tenant = uuid7()
            connection.execute("INSERT INTO tenants (id, slug) VALUES (%s, %s)", (tenant, slug))
            connection.execute(
                "INSERT INTO placements (tenant_id, topic, kpart) SELECT %s, unnest(%s::text[]), 0",
                (tenant, [topic.route for topic in TOPICS if topic.placed]),
            )
            for number in range(jobs):
                asset = uuid7()
                connection.execute(
                    """INSERT INTO assets (id, tenant_id, state, kind, file_name, content_type, size, object_key)
                       VALUES (%s, %s, 'ready', 'image', 'a.jpg', 'image/jpeg', 1, %s)""",
                    (asset, tenant, f"uploads/{asset}"),
                )
                connection.execute(
                    """INSERT INTO jobs (id, tenant_id, asset_id, generation, stage, topic, state, kpart, report,
                           created_at, started_at, finished_at)
                       SELECT %s, %s, %s, 1, 'image.primary', 'jobs.image', 'done', 0,
                           json_build_object('cpu_s', 1.0, 'claimed_at', extract(epoch FROM at) + %s),
                           at, at + %s * interval '1 second', at + (%s + 1) * interval '1 second'
                       FROM (SELECT now() - interval '1 hour' AS at) AS began""",
                    (uuid7(), tenant, asset, number, number, number),
                )  # fmt: skip
    return database


@pytest.fixture
def run(history):
    def run(*arguments, code=0, **env):
        ran = CliRunner().invoke(
            medialane, ["partitions", *map(str, arguments)], env={"MEDIALANE_DATABASE_URL": history.worker} | env
        )
        assert ran.exit_code == code, (ran.output, ran.exception)
        return ran.output

    return run


def placed(database, slug, topic="jobs.image"):
    with psycopg.connect(database.owner) as connection:
        rows = connection.execute(
            "SELECT kpart FROM placements JOIN tenants ON id = tenant_id WHERE slug = %s AND topic = %s ORDER BY bucket",
            (slug, topic),
        )
        return [row[0] for row in rows]


def noted(database):
    """The moves that the audit log has, of tenant `cold`."""
    with psycopg.connect(database.owner) as connection:
        rows = connection.execute(
            "SELECT subject, detail FROM audit_log a JOIN tenants t ON t.id = a.tenant_id "
            "WHERE action = 'partitions.move' AND slug = 'cold' ORDER BY at"
        )
        return rows.fetchall()


def test_a_plan_is_made_shown_tried_and_applied_once(run, history, tmp_path):
    file = tmp_path / "plan.json"
    said = run("plan", "--topic", "jobs.image", "--out", file)
    assert "the fullest partition has 4.00 times the mean, then" in said
    assert "~ hot: from 0 to " in said
    assert placed(history, "hot") == [0], "a plan changes nothing"
    moves = json.loads(file.read_text())["moves"]
    assert [move["tenant"] for move in moves] == ["hot"]
    assert "would move hot: jobs.image from 0 to" in run("apply", file, "--dry-run")
    assert placed(history, "hot") == [0], "neither does a dry run"
    assert "moved hot: jobs.image from 0 to" in run("apply", file)
    assert placed(history, "hot") == moves[0]["want"]
    assert "make a new plan" in run("apply", file, code=1)
    assert "make a new plan" in run("apply", file, "--dry-run", code=1)
    assert "nobody has to move" in run("plan", "--topic", "jobs.image")


def test_without_a_history_there_is_nothing_to_plan_from(run):
    assert run("plan").count("nothing to plan from") == 1, "of videos"
    assert run("plan", "--window", "1s").count("nothing to plan from") == 3


def test_a_tenant_is_moved_by_hand(run, history):
    assert "would move cold: events from 0 to 2" in run("move", "cold", "--topic", "events", "--to", 2, "--dry-run")
    assert placed(history, "cold", "events") == [0]
    assert "moved cold: events from 0 to 2,3" in run("move", "cold", "--topic", "events", "--to", "2,3")
    assert placed(history, "cold", "events") == [2, 3]
    assert "already" in run("move", "cold", "--topic", "events", "--to", "2,3")
    assert noted(history) == [("events", {"from": [0], "to": [2, 3]})]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("move", "cold", "--topic", "events", "--to", "9"), 1, "partitions 0 to 3; 9 is not among them"),
        (("move", "cold", "--topic", "events", "--to", "x"), 2, "write 3, or 1,5"),
        (("move", "cold", "--topic", "canary", "--to", "0"), 2, "'canary' is not one of"),
        (("plan", "--window", "soon"), 2, "write 90s, 15m, 24h or 7d"),
    ],
)
def test_what_cannot_be_is_said(run, arguments, code, said):
    assert said in run(*arguments, code=code)


def test_a_file_that_is_no_plan_is_said_so(run, tmp_path):
    file = tmp_path / "plan.json"
    file.write_text('{"moves": 1}')
    assert "is no plan" in run("apply", file, code=1)


def test_what_is_on_each_partition_is_shown(run, history):
    views = json.loads(run("show", "--topic", "jobs.image", "--json"))
    assert [view["partition"] for view in views] == [0, 1, 2, 3]
    (first, *others) = views
    assert (first["cpu_s"], first["shares"]) == (100.0, {"hot": 0.8, "cold": 0.1, "warm": 0.1})
    assert (first["open_records"], first["queued"], first["running"], first["waiting"]) == (None, 0, 0, 0)
    assert all(view["cpu_s"] == 0 for view in others)
    assert "hot 80%, cold 10%, warm 10%" in run("show")


def test_jobs_that_are_not_over_are_shown_where_they_are(run, history):
    with psycopg.connect(history.owner) as connection:
        for state, kpart in (("queued", 2), ("queued", 2), ("running", 3), ("waiting", None)):
            connection.execute(
                """INSERT INTO jobs (id, tenant_id, asset_id, generation, stage, topic, state, kpart, reason, lease_until,
                       emitted_at)
                   SELECT gen_random_uuid(), tenant_id, id, 2 + (SELECT count(*) FROM jobs WHERE generation > 1),
                       'image.primary', 'jobs.image', %(state)s, %(kpart)s,
                       CASE WHEN %(state)s = 'waiting' THEN 'credit' END,
                       CASE WHEN %(state)s = 'running' THEN now() END, now() - interval '1 minute'
                   FROM assets WHERE tenant_id = (SELECT id FROM tenants WHERE slug = 'warm') LIMIT 1""",
                {"state": state, "kpart": kpart},
            )
    views = json.loads(run("show", "--topic", "jobs.image", "--json"))
    assert [(view["queued"], view["running"], view["waiting"]) for view in views] == [
        (0, 0, 1), (0, 0, 0), (2, 0, 0), (0, 1, 0),
    ]  # fmt: skip
    assert views[2]["head_age_s"] >= 60


def test_the_skew_is_shown_now_and_under_a_plan(run, tmp_path):
    file = tmp_path / "plan.json"
    run("plan", "--topic", "events", "--out", file)
    said = run("skew", "--topic", "events", "--plan", file)
    assert said == run("skew", "--topic", "events"), "the plan that is made now is the same one"
    assert "times the mean; then" in said


def test_the_history_is_simulated_with_other_numbers(run):
    rows = json.loads(
        run("simulate", "--slots", "1,2", "--partitions", "4,8", "--placement", "planned", "--json").splitlines()[-1]
    )
    assert [row["what"].split(" ")[0] for row in rows] == [
        "recorded",
        "partitions=4",
        "partitions=4",
        "partitions=8",
        "partitions=8",
    ]
    assert all(row["jobs"] == 100 for row in rows)
    assert max(row["most_at_once"] for row in rows[1:]) == 2
    assert {"partitions=8", "placement=hash"} <= set(
        run("simulate", "--partitions", "8", "--placement", "hash").split()
    )


def test_the_placement_that_is_named_is_the_one_that_is_simulated(run, history):
    def send(one, kpart):
        with psycopg.connect(history.owner) as connection:
            statement = (
                "UPDATE jobs SET kpart = %s WHERE id = (SELECT id FROM jobs WHERE kpart = %s ORDER BY id LIMIT 1)"
            )
            connection.execute(statement, (kpart, one))

    def placements(*arguments, code=0):
        said = run("simulate", *arguments, "--json", code=code)
        return said if code else [row["what"].rpartition("=")[2] for row in json.loads(said.splitlines()[-1])[1:]]

    send(0, 3)
    try:
        assert placements() == ["recorded"]
        assert placements("--partitions", "2,8") == ["planned", "planned"]
        assert placements("--partitions", "4,8", "--placement", "recorded") == ["recorded", "recorded"]
        refused = placements("--partitions", "2,8", "--placement", "recorded", code=2)
        assert "jobs were sent to partition 3: recorded needs 4 partitions or more" in refused
    finally:
        send(3, 0)


def test_the_prediction_is_held_against_the_history_itself(run):
    setup, rows = run("simulate", "--check", "--json").splitlines()
    assert "workers=1 slots=3" in setup, "what is compared is named"
    recorded, predicted, off = json.loads(rows)
    assert (recorded["what"], predicted["what"], off["what"]) == ("recorded", "predicted", "error")
    assert off["jobs"] == 0
    assert off["jobs_per_s"] == pytest.approx(abs(predicted["jobs_per_s"] / recorded["jobs_per_s"] - 1))


def setups(said):
    """The numbers of every line that was predicted."""
    return [dict(word.split("=") for word in row["what"].split()) for row in json.loads(said.splitlines()[-1])[1:]]


def test_lanes_are_as_they_are_tuned_else_as_the_workers_settings_say(run, history):
    env = {"MEDIALANE_WORKER_LANE_CONCURRENCY": "7", "MEDIALANE_WORKER_LANE_WINDOW": "96"}
    [found] = setups(run("simulate", "--json", **env))
    assert (found["running"], found["lane_window"]) == ("7", "96")
    with psycopg.connect(history.owner, autocommit=True) as connection:
        connection.execute("INSERT INTO lane_settings (topic, running) VALUES ('jobs.image', 2)")
        try:
            [found] = setups(run("simulate", "--json", **env))
        finally:
            connection.execute("DELETE FROM lane_settings")
    assert (found["running"], found["lane_window"]) == ("2", "96")


def test_the_slots_that_there_were_are_divided_among_the_workers_that_are_named(run):
    found = setups(run("simulate", "--workers", "1,2,3,4", "--json"))
    assert [(one["workers"], one["slots"]) for one in found] == [("1", "3"), ("2", "2"), ("3", "1"), ("4", "1")]
    found = setups(run("simulate", "--workers", "2,4", "--slots", "5", "--json"))
    assert [(one["workers"], one["slots"]) for one in found] == [("2", "5"), ("4", "5")]
    setup = run("simulate", "--check", "--workers", "3").splitlines()[0]
    assert "workers=3 slots=1" in setup


def test_jobs_of_the_history_have_the_credit_of_their_class(run, history):
    wide = ("simulate", "--credits", "8", "--running", "8", "--slots", "30", "--placement", "now", "--json")

    def jobs_per_s():
        return json.loads(run(*wide).splitlines()[-1])[1]["jobs_per_s"]

    def of_class(job_class):
        with psycopg.connect(history.owner) as connection:
            connection.execute("UPDATE jobs SET job_class = %s", (job_class,))

    primary = jobs_per_s()
    of_class("bulk")
    try:
        assert jobs_per_s() < primary / 4, "an eighth of eight: one at a time"
    finally:
        of_class("primary")


def test_a_mix_is_simulated_without_a_database(tmp_path):
    file = tmp_path / "mix.toml"
    file.write_text(CliRunner().invoke(medialane, ["partitions", "simulate", "--example"]).output.replace("2000", "50"))
    ran = CliRunner().invoke(medialane, ["partitions", "simulate", "--mix", str(file), "--running", "1,4", "--json"])
    assert ran.exit_code == 0, ran.output
    one, four = json.loads(ran.output.splitlines()[-1])
    assert one["tenant_p95_s"] >= four["tenant_p95_s"]
    arguments = ["partitions", "simulate", "--mix", str(file), "--placement", "recorded"]
    assert "a mix has no recorded placement" in CliRunner().invoke(medialane, arguments).output


def test_a_mix_runs_on_the_slots_that_a_worker_would_have_here(tmp_path, monkeypatch):
    file = tmp_path / "mix.toml"
    file.write_text('duration_s = 1\n[[tenants]]\nname = "a"\nseconds = 1\nburst = 1\n')
    monkeypatch.setattr(material, "available_cores", lambda: 16)
    monkeypatch.setattr(material, "available_memory_mib", lambda: 4096)
    ran = CliRunner().invoke(medialane, ["partitions", "simulate", "--mix", str(file), "--json"])
    assert ran.exit_code == 0, ran.output
    assert "workers=1 slots=5" in ran.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("simulate", "--window", "1s"), 1, "no job of jobs.image has ended in the window"),
        (("simulate", "--slots", "0"), 2, "at least 1"),
        (("simulate", "--slots", ",".join(map(str, range(1, 70)))), 2, "more than 64 combinations"),
    ],
)
def test_what_cannot_be_simulated_is_said(run, arguments, code, said):
    assert said in run(*arguments, code=code)
