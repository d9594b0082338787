"""Migrations: two migrators at once, steps that must be permitted, and the roles' limits."""

import threading

import psycopg
import pytest
from psycopg import errors
from support import commands

import migrations
from connectors.postgres.database import SCHEMA
from migrations import runner


def test_two_migrators_at_once_apply_each_step_once(empty):
    applied, failures = [], []

    def migrate():
        try:
            applied.append(migrations.upgrade(empty))
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [steps for steps in applied if steps] == [max(applied, key=len)], "one migrates, the others find it done"
    assert runner.pending(empty) == []
    assert migrations.current(empty) == migrations.head()


def test_a_destructive_step_runs_only_when_permitted(empty, monkeypatch):
    monkeypatch.setattr(runner, "_is_destructive", lambda revision: revision == "0001")
    with pytest.raises(migrations.DestructiveStepError, match="MEDIALANE_MIGRATION_ALLOW_DESTRUCTIVE"):
        migrations.upgrade(empty)
    assert migrations.current(empty) is None
    assert migrations.upgrade(empty, allow_destructive=True)[0] == "0001"


def test_a_step_does_not_wait_behind_a_long_reader_and_those_before_it_stay(empty, monkeypatch):
    monkeypatch.setattr(runner, "_LOCK_TIMEOUT_MS", 50)
    migrations.upgrade(empty, target="0002")
    with psycopg.connect(empty) as reader:
        reader.execute("SELECT FROM variants")
        pauses = []
        monkeypatch.setattr(runner, "sleep", pauses.append)
        with pytest.raises(migrations.TablesInUseError, match=r"migration 0008 waits .* pg_stat_activity .* run `med"):
            migrations.upgrade(empty)
        assert len(pauses) == runner._TRIES - 1
        assert migrations.current(empty) == "0007"
        # One that ends in time costs nothing but a pause.
        monkeypatch.setattr(runner, "sleep", lambda _: reader.rollback())
        assert migrations.upgrade(empty)[0] == "0008"
    assert runner.pending(empty) == []


def test_a_step_that_waits_for_one_table_keeps_nobody_from_another(empty):
    migrations.upgrade(empty, target="0020")
    with psycopg.connect(empty) as joining, psycopg.connect(empty, autocommit=True) as looking:
        joining.execute("LOCK TABLE content IN ROW EXCLUSIVE MODE")
        migrating = threading.Thread(target=migrations.upgrade, args=(empty,))
        migrating.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        while looking.execute(waiting, (joining.info.backend_pid,)).fetchone() == (0,):
            assert migrating.is_alive()
        joining.execute("LOCK TABLE jobs IN ROW EXCLUSIVE MODE NOWAIT")
        joining.commit()
        migrating.join()
    assert runner.pending(empty) == []


def test_a_database_that_a_newer_release_has_migrated_is_left_as_it_is(empty):
    migrations.upgrade(empty)
    with psycopg.connect(empty, autocommit=True) as owner:
        owner.execute("UPDATE alembic_version SET version_num = '9999'")
    assert migrations.upgrade(empty) == []
    for options in ([], ["--dry-run"], ["--phase", "expand"]):
        ran = commands.medialane({"MEDIALANE_MIGRATION_DATABASE_URL": empty}, "migrate", *options)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.startswith(f"the database is at 9999, newer than this release ({migrations.head()})")


def test_what_a_database_bounds_for_its_programs_bounds_no_step(empty, database):
    name = empty.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(database.owner, autocommit=True) as connection:
        for bound in ("statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"):
            connection.execute(f"ALTER DATABASE {name} SET {bound} = 1")
    assert migrations.upgrade(empty)[-1] == migrations.head()


def test_days_of_the_outbox_begin_in_utc_whatever_the_servers_zone(empty, database):
    name = empty.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET timezone = 'America/Los_Angeles'")
    migrations.upgrade(empty)
    with psycopg.connect(empty, autocommit=True) as owner:
        assert owner.execute("SHOW timezone").fetchone() == ("America/Los_Angeles",)
        bounds = "SELECT name, (upper_bound AT TIME ZONE 'UTC')::time::text FROM outbox_partitions ORDER BY name"
        made = owner.execute(bounds).fetchall()
        assert [time for _, time in made] == ["00:00:00"] * 3
        # The zone of the session that rotates does not count either.
        last = made[-1][0]
        owner.execute(f"DROP TABLE {last}")
        owner.execute("DELETE FROM outbox_partitions WHERE name = %s", (last,))
        owner.execute("SELECT outbox_rotate(interval '1 day', '')")
        assert owner.execute(bounds).fetchall() == made


STEPS = [runner.Step("0002", "expand"), runner.Step("0003", "contract"), runner.Step("0004", "expand")]


def revisions(steps):
    return [step.revision for step in steps]


def test_a_phase_applies_its_steps_up_to_the_other_phases_first():
    assert revisions(runner.next_steps(STEPS, "all")) == ["0002", "0003", "0004"]
    assert revisions(runner.next_steps(STEPS, "expand")) == ["0002"]
    assert revisions(runner.next_steps(STEPS[1:], "contract")) == ["0003"]
    assert runner.next_steps(STEPS[:1], "contract") == [], "nothing of that phase is pending"
    with pytest.raises(migrations.PhaseError, match=r"0003 .contract. is pending .* --phase contract"):
        runner.next_steps(STEPS[1:], "expand")
    with pytest.raises(migrations.PhaseError, match=r"0002 .expand. is pending .* --phase expand"):
        runner.next_steps(STEPS, "contract")


def test_an_empty_database_gets_everything_in_any_phase():
    steps = [runner.Step("0001", "expand"), *STEPS]
    assert runner.next_steps(steps, "expand") == steps


def test_every_step_says_a_phase_that_exists_and_none_destroys_while_older_code_may_run():
    for step in runner._steps("head", "base"):
        assert step.phase in {"expand", "contract"}, step
        assert not (runner._is_destructive(step.revision) and step.phase == "expand"), step
    assert migrations.expanded_head() <= migrations.head()


def test_processes_ask_for_the_newest_step_that_their_release_needs():
    assert migrations.expanded_head() == SCHEMA


def test_the_contract_steps_at_the_end_are_for_when_older_code_is_gone():
    assert runner.expanded(STEPS) == STEPS[-1]
    contract = [runner.Step(number, "contract") for number in ("0005", "0006")]
    assert runner.expanded([*STEPS, *contract]) == STEPS[-1], "one in the middle is a release's before"


def test_the_app_role_sees_one_tenant_and_cannot_read_the_outbox(database):
    with psycopg.connect(database.owner, autocommit=True) as owner:
        for number in (1, 2):
            tenant = f"00000000-0000-4000-8000-00000000000{number}"
            owner.execute("INSERT INTO tenants (id, slug) VALUES (%s, %s)", (tenant, f"tenant-{number}"))
    with psycopg.connect(database.app, autocommit=True) as app:
        assert app.execute("SELECT count(*) FROM tenants").fetchone() == (0,), "no tenant set: nothing is shown"
        app.execute("SELECT set_config('medialane.tenant_id', %s, false)", (tenant,))
        assert app.execute("SELECT slug FROM tenants").fetchall() == [("tenant-2",)]
        for statement in ("SELECT * FROM outbox", "DELETE FROM assets", "UPDATE partitions SET kpart = 1"):
            with pytest.raises(errors.InsufficientPrivilege):
                app.execute(statement)


@pytest.mark.parametrize("index", ["jobs_leases", "jobs_emissions", "jobs_due", "webhook_deliveries_leases"])
def test_what_is_read_every_second_is_vacuumed_long_before_a_fifth_of_its_table_is_dead(database, index):
    asked = """
        SELECT o.option_name, o.option_value FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid,
            pg_options_to_table(c.reloptions) AS o
        WHERE i.indexrelid = %s::regclass
    """
    with psycopg.connect(database.owner) as owner:
        found = dict(owner.execute(asked, (index,)).fetchall())
    dead = int(found["autovacuum_vacuum_threshold"]) + float(found["autovacuum_vacuum_scale_factor"]) * 90_000_000
    assert dead <= 250_000, "rows of ninety million"
    assert found["vacuum_index_cleanup"] == "on"


def test_an_outbox_row_may_only_name_a_confirmed_partition(database):
    insert = (
        "INSERT INTO outbox (id, aggregatetype, aggregateid, kkey, type, kpart, payload)"
        " VALUES (gen_random_uuid(), 'events', 'a', 'k', 't', %s, %s)"
    )
    with psycopg.connect(database.worker, autocommit=True) as worker:
        worker.execute("INSERT INTO partitions (topic, kpart) VALUES ('events', 0) ON CONFLICT DO NOTHING")
        worker.execute(insert, (0, "{}"))
        worker.execute(insert, (None, "{}"))
        with pytest.raises(errors.ForeignKeyViolation):
            worker.execute(insert, (4096, "{}"))
        with pytest.raises(errors.CheckViolation):
            worker.execute(insert, (0, "x" * 70_000))


def test_an_outbox_partition_goes_only_when_old_and_confirmed_for_some_hours(database):
    rotate = "SELECT outbox_rotate(interval '1 day', 'rotation_test')"
    make_slot = "SELECT pg_create_logical_replication_slot('rotation_test', 'pgoutput')"
    drop_slot = "SELECT pg_drop_replication_slot('rotation_test')"
    hours_pass = "UPDATE outbox_partitions SET confirmed_at = confirmed_at - interval '7 hours'"
    with (
        psycopg.connect(database.owner, autocommit=True) as owner,
        psycopg.connect(database.worker, autocommit=True) as worker,
    ):
        for name, day, bound in (("old", 1, "'2020-01-02'"), ("young", 2, "now() - interval '1 hour'")):
            bounds = f"FROM ('2020-01-0{day}') TO ('2020-01-0{day + 1}')"
            owner.execute(f"CREATE TABLE outbox_{name} PARTITION OF outbox FOR VALUES {bounds}")
            owner.execute(f"INSERT INTO outbox_partitions (name, upper_bound) VALUES ('outbox_{name}', {bound})")
        assert worker.execute(rotate).fetchall() == [], "no slot: nothing is confirmed"
        owner.execute(make_slot)
        try:
            owner.execute("UPDATE outbox_partitions SET closed_lsn = 'FFFFFFFF/0' WHERE name = 'outbox_old'")
            owner.execute(hours_pass)
            assert worker.execute(rotate).fetchall() == [], "the connector is behind it"
            owner.execute(
                "UPDATE outbox_partitions SET closed_lsn = '0/1' WHERE name IN ('outbox_old', 'outbox_young')"
            )
            assert worker.execute(rotate).fetchall() == [], "a slot that was just made has sent nothing yet"
            owner.execute(drop_slot)
            assert worker.execute(rotate).fetchall() == []
            owner.execute(hours_pass)
            owner.execute(make_slot)
            assert worker.execute(rotate).fetchall() == [], "nor has its successor"
            owner.execute(hours_pass)
            assert worker.execute(rotate).fetchall() == [("outbox_old",)], "the other is young, however confirmed"
            assert worker.execute("SELECT to_regclass('outbox_old')").fetchone() == (None,)
        finally:
            owner.execute(drop_slot)
            owner.execute("DROP TABLE IF EXISTS outbox_old, outbox_young")
            owner.execute("DELETE FROM outbox_partitions WHERE name IN ('outbox_old', 'outbox_young')")
