"""`medialane partitions` as operators use it, on a real database with a history of jobs."""

import json

import psycopg
import pytest
from click.testing import CliRunner

from cli.main import medialane
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
    def run(*arguments, code=0):
        ran = CliRunner().invoke(
            medialane, ["partitions", *map(str, arguments)], env={"MEDIALANE_DATABASE_URL": history.worker}
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
