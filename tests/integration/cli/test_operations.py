"""The one-shot jobs of an installation, as the container file runs them, on the real stack."""

import json
import time
from urllib.parse import urlsplit

import psycopg
import pytest
from support.commands import medialane

from schemas.topics import TOPICS

pytestmark = pytest.mark.stack


@pytest.fixture
def env(stack, database, kafka):
    return {
        "MEDIALANE_KAFKA_BROKERS": kafka.brokers,
        "MEDIALANE_KAFKA_TOPIC_PREFIX": kafka.topic_prefix + "x",  # topics that do not exist yet
        "MEDIALANE_MIGRATION_DATABASE_URL": database.owner,
        "MEDIALANE_CONNECT_URL": stack.env["MEDIALANE_CONNECT_URL"],
        "MEDIALANE_CONNECT_DATABASE_URL": database.replication,
        "MEDIALANE_CONNECT_CONNECTOR": f"ops-{database.name}",
        "MEDIALANE_CONNECT_SLOT": f"ops_{database.name}",
    }


def test_migrate_may_be_repeated(env):
    ran = medialane(env, "migrate")
    assert (ran.returncode, ran.stdout) == (0, "nothing to apply\n"), ran.stderr


def test_topics_are_planned_then_made_then_recorded(env, database):
    before = medialane(env, "topics", "plan")
    assert before.returncode == 0, before.stderr
    assert before.stdout.count("~ create ") == len(TOPICS)
    applied = medialane(env, "topics", "apply")
    assert applied.returncode == 0, applied.stderr
    after = medialane(env, "topics", "plan")
    assert after.returncode == 0, after.stderr
    assert after.stdout.count("= ") == len(after.stdout.splitlines()) == len(TOPICS), after.stdout
    with psycopg.connect(database.owner) as connection:
        recorded = dict(connection.execute("SELECT topic, count(*) FROM partitions GROUP BY topic").fetchall())
    assert recorded == {topic.route: topic.partitions for topic in TOPICS}


def test_a_cluster_made_anew_gets_no_fewer_partitions_than_are_recorded(env, database, tmp_path):
    """Tenants are placed on all of them: the connector would fail for ever at the first row for one that is not there."""
    env["MEDIALANE_KAFKA_TOPIC_PREFIX"] += "z"
    grown = tmp_path / "topics.toml"
    grown.write_text(medialane(env, "topics", "show").stdout.replace("partitions = 1\n", "partitions = 2\n", 1))
    with psycopg.connect(database.owner) as owner:
        owner.execute(
            "INSERT INTO partitions (topic, kpart) VALUES ('jobs.dlq', 0), ('jobs.dlq', 1) ON CONFLICT DO NOTHING"
        )
    name = f"{env['MEDIALANE_KAFKA_TOPIC_PREFIX']}.jobs.dlq"
    for command in ("plan", "apply"):
        ran = medialane(env, "topics", command)
        assert ran.returncode == 1
        assert ran.stderr.startswith(f"medialane: {name} would have 1 partitions, and 2 are recorded in Postgres: ")
        assert "--file" in ran.stderr
    without = {name: value for name, value in env.items() if name != "MEDIALANE_MIGRATION_DATABASE_URL"}
    seen = medialane(without, "topics", "plan")
    assert seen.returncode == 0, "no database is needed"
    assert seen.stdout.count("~ create ") == len(TOPICS), "nothing was made"
    applied = medialane(env, "topics", "apply", "--file", str(grown))
    assert applied.returncode == 0, applied.stderr
    assert "jobs.dlq: 2 partitions" in applied.stdout
    assert medialane(env, "topics", "plan").returncode == 0, "a topic that is there counts as it is"


def test_topics_of_a_database_without_tables_are_not_made(env, database):
    head, _, _ = database.owner.rpartition("/")
    ran = medialane(env | {"MEDIALANE_MIGRATION_DATABASE_URL": f"{head}/postgres"}, "topics", "apply")
    assert (ran.returncode, ran.stderr) == (
        1, "medialane: the database has no tables yet: run `medialane migrate` first\n",
    )  # fmt: skip


def test_a_missing_variable_is_named_before_anything_changes(env):
    del env["MEDIALANE_MIGRATION_DATABASE_URL"]
    env["MEDIALANE_KAFKA_TOPIC_PREFIX"] += "y"
    ran = medialane(env, "topics", "apply")
    assert ran.returncode == 2
    assert "MEDIALANE_MIGRATION_DATABASE_URL is not set" in ran.stderr
    assert medialane(env, "topics", "plan").stdout.count("~ create ") == len(TOPICS)


def test_the_connector_is_registered_once(env, stack, database):
    unknown = medialane(env, "connector", "status")
    assert unknown.returncode == 1
    assert "medialane connector register" in unknown.stderr
    try:
        for _ in range(2):
            ran = medialane(env, "connector", "register")
            assert ran.returncode == 0, ran.stderr
        assert env["MEDIALANE_CONNECT_CONNECTOR"] in json.loads(_get(f"{env['MEDIALANE_CONNECT_URL']}/connectors"))
    finally:
        _delete(f"{env['MEDIALANE_CONNECT_URL']}/connectors/{env['MEDIALANE_CONNECT_CONNECTOR']}")


def test_a_connector_with_another_releases_settings_is_told(env, stack, database):
    connector = f"{env['MEDIALANE_CONNECT_URL']}/connectors/{env['MEDIALANE_CONNECT_CONNECTOR']}"

    def status(**changes):
        for _ in range(300):
            ran = medialane(env | changes, "connector", "status")
            if "RUNNING, 1 tasks" in ran.stdout and ran.returncode != 1:
                return ran.returncode, ran.stderr
            time.sleep(0.1)
        raise AssertionError(ran)

    try:
        assert medialane(env, "connector", "register").returncode == 0
        assert status() == (0, "")
        code, said = status(MEDIALANE_CONNECT_POLL_INTERVAL_MS="7")
        assert (code, said.count("\n")) == (3, 1)
        assert said.startswith("not as this release sets them: poll.interval.ms. Run `medialane connector register`")
    finally:
        _delete(connector)


def test_a_connector_that_reads_something_else_is_not_replaced_unasked(env, stack, database):
    connector = f"{env['MEDIALANE_CONNECT_URL']}/connectors/{env['MEDIALANE_CONNECT_CONNECTOR']}"
    slot = env["MEDIALANE_CONNECT_SLOT"]
    at = "{0.hostname}:{0.port}{0.path}".format(urlsplit(env["MEDIALANE_CONNECT_DATABASE_URL"]))

    def registered(*options, **changes):
        ran = medialane(env | changes, "connector", "register", *options)
        return ran.returncode, ran.stderr, json.loads(_get(f"{connector}/config"))

    try:
        assert registered()[0] == 0
        settings = {"MEDIALANE_CONNECT_POLL_INTERVAL_MS": "7", "MEDIALANE_CONNECT_DATABASE_URL": database.owner}
        code, said, config = registered(**settings)
        assert (code, said) == (0, ""), "another role and other settings"
        assert (config["poll.interval.ms"], config["database.user"]) == ("7", urlsplit(database.owner).username)

        other = {"MEDIALANE_CONNECT_SLOT": f"{slot}_b", "MEDIALANE_CONNECT_DATABASE_URL": "postgresql://r@db.example/b"}
        code, said, unchanged = registered(**other)
        assert (code, unchanged) == (1, config)
        assert f"reads {at} by slot {slot}, not db.example:5432/b by slot {slot}_b: " in said
        assert said.count("\n") == 1

        code, said, config = registered("--replace", MEDIALANE_CONNECT_SLOT=f"{slot}_b")
        assert (code, said, config["slot.name"]) == (0, "", f"{slot}_b")
    finally:
        _delete(connector)


def test_the_connector_needs_the_replication_role(env):
    del env["MEDIALANE_CONNECT_DATABASE_URL"]
    ran = medialane(env, "connector", "register")
    assert ran.returncode == 2
    assert "MEDIALANE_CONNECT_DATABASE_URL is not set" in ran.stderr


def test_connect_that_does_not_answer_is_said_so(env):
    ran = medialane(env | {"MEDIALANE_CONNECT_URL": "http://127.0.0.1:9"}, "connector", "status")
    assert ran.returncode == 1
    assert ran.stderr.startswith("medialane: Connect at http://127.0.0.1:9 does not answer")


def _get(url):
    import urllib.request

    with urllib.request.urlopen(url) as answer:
        return answer.read()


def _delete(url):
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).close()
