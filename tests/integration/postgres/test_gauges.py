"""What the keeper's gauges are made of: how late waiting jobs are, and what the slot holds back."""

from uuid import UUID

import pytest
import sqlalchemy as sa

from connectors.postgres import outbox_upkeep
from connectors.postgres.protocol import keeper
from schemas.ids import uuid7

MINUTE = 60
_SET = """
    UPDATE jobs SET state = :state, reason = :reason, created_at = now() - interval '1 hour',
        emitted_at = CASE WHEN :emitted THEN now() - interval '20 minutes' END,
        turn_at = now() + :turn * interval '1 minute', due_at = now() + :due * interval '1 minute'
    WHERE id = :job
"""
# A table of the session's own is found before the view of the same name.
_SLOT = """
    CREATE TEMP TABLE pg_replication_slots ON COMMIT DROP AS SELECT CAST('outbox' AS name) AS slot_name,
        current_database() AS database, CAST(:restart AS pg_lsn) AS restart_lsn,
        pg_current_wal_lsn() - 5000 AS confirmed_flush_lsn, true AS active
"""
_OTHER_SLOT = """
    INSERT INTO pg_replication_slots SELECT CAST(:name AS name), coalesce(:database, current_database()),
        CASE WHEN :kept THEN pg_current_wal_lsn() - :behind END, pg_current_wal_lsn() - :behind, :active
"""


@pytest.mark.parametrize(
    ("state", "reason", "emitted", "turn", "due", "minutes"),
    [
        ("waiting", "retry", True, -60, 5, 0), ("waiting", "retry", True, -60, -2, 2), ("waiting", "credit", False, 40, None, 0),
        ("waiting", "credit", False, -10, None, 10), ("waiting", "credit", True, -60, None, 20),
        ("waiting", "breaker", True, -60, None, 20), ("queued", None, True, 40, None, 20),
    ],
    ids=["retry, not due", "retry, due", "bulk, not its turn", "bulk, its turn", "credit after a retry", "breaker", "queued"],
)  # fmt: skip
async def test_a_job_is_late_from_its_due_time_or_its_turn_on(
    worker, seed, seeded, state, reason, emitted, turn, due, minutes
):
    await seed.change(worker, "DELETE FROM jobs WHERE id <> :job", job=seeded.job_id)
    values = {"state": state, "reason": reason, "emitted": emitted, "turn": turn, "due": due}
    await seed.change(worker, _SET, job=seeded.job_id, **values)
    async with worker.transaction() as connection:
        [found] = await keeper.backlog(connection)
    assert (found.state, found.reason, found.jobs) == (state, reason or "", 1)
    assert found.oldest_s // MINUTE == minutes
    assert found.oldest_s == 0 or minutes


async def test_a_slot_that_was_lost_still_shows_how_far_behind_it_is(worker):
    async with worker.transaction() as connection:
        await connection.execute(sa.text(_SLOT), {"restart": None})
        lost = await outbox_upkeep.read_state(connection, slot="outbox")
        none = await outbox_upkeep.read_state(connection, slot="other")
    assert lost.retained_bytes >= 5000
    assert (none.retained_bytes, none.confirmed_lsn) == (0, None)


async def test_what_another_slot_holds_back_that_nobody_reads_counts_too(worker):
    async def other(connection, name, *, behind, database=None, kept=True, active=False):
        values = {"name": name, "behind": behind, "database": database, "kept": kept, "active": active}
        await connection.execute(sa.text(_OTHER_SLOT), values)
        return await outbox_upkeep.read_state(connection, slot="outbox")

    async with worker.transaction() as connection:
        await connection.execute(sa.text(_SLOT), {"restart": None})
        await other(connection, "read", behind=9_000_000, active=True)
        await other(connection, "elsewhere", behind=9_000_000, database="elsewhere")
        lost = await other(connection, "lost", behind=9_000_000, kept=False)
        assert lost.retained_bytes < 1_000_000
        assert lost.idle_slots == ()
        near = await other(connection, "near", behind=1000)
        assert near.retained_bytes >= 5000, "our own is the farthest behind"
        far = await other(connection, "far", behind=4_000_000)
    assert 4_000_000 <= far.retained_bytes < 9_000_000
    assert far.idle_slots == ("far", "near")
    assert not far.unbounded, "the stack sets max_slot_wal_keep_size"
    assert far.confirmed_lsn == near.confirmed_lsn == lost.confirmed_lsn


async def test_the_newest_row_is_not_one_of_a_host_whose_clock_is_ahead(worker):
    """Or no later row would count as new, and as unsent, before that time has come."""
    write = "INSERT INTO outbox (id, aggregatetype, aggregateid, kkey, type, payload) VALUES (:id, 'events', 'a', 'k', 't', '')"
    now, ahead = uuid7(), UUID(int=uuid7().int + (7200_000 << 80))
    async with worker.transaction() as connection:
        await connection.execute(sa.text(write), [{"id": now}, {"id": ahead}])
        assert (await outbox_upkeep.read_state(connection, slot="outbox")).newest == now
        plan = (
            await connection.execute(sa.text(f"EXPLAIN {outbox_upkeep._OUTBOX_STATE.text.replace(':slot', 'NULL')}"))
        ).scalars()
        assert any("Index Cond: (id <" in line for line in plan)
