"""Content: bytes that a tenant uploads again cost no processing.

The first job to meet the bytes leads; others with the same bytes are its twins and wait in their rows. Parking and the
leader's end both lock the content row, so a twin can not fall asleep just after the wake-up. Every secondary stage of
the same bytes has a leader and twins of its own, in `content_stages`.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, NamedTuple, Self
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.assets.purge import PURGING
from connectors.postgres.json_text import few, json_text
from connectors.postgres.protocol.credits import pass_on
from schemas.details import Facts
from schemas.errors import OF_THE_CONTENT, READER
from schemas.states import Stage, is_primary

TWIN_CHECK_S = 60.0
"""How long a twin sleeps at most before it looks again, should its leader have vanished without a word."""


LEFT_TO_A_NEWER = "({job}.reason = 'retry' AND {job}.error_code IS NULL)"
"""SQL: whether a job that waits failed of nothing, and asks for what a release that ran it does not know."""

# A leader that its tenant's breaker holds may wait for the very job that asks: the one that is tried. It joins later.
# So does one that is left to a newer release, for which it may wait for ever.
_ALIVE = f"""
    {{job}}.state IN ('waiting', 'queued', 'running') AND {{job}}.reason IS DISTINCT FROM 'breaker'
    AND NOT ({{job}}.state = 'waiting' AND {LEFT_TO_A_NEWER})
"""
"""SQL: whether a job that leads a content will come to an end without its twins."""

PURGE_CHECK_S = 5.0
"""How long a job waits for the removal of old objects of its content before it looks again."""


class Role(Enum):
    """What a job is to its content."""

    LEADER = "leader"  # process it
    REUSE = "reuse"  # everything was made already
    TWIN = "twin"  # another job is at it: wait
    DOOMED = "doomed"  # these bytes failed for good, for a release that reads no less than this one


class Decision(NamedTuple):
    """A role, with the facts of finished content (of a primary stage) or the reason of failed content: a code that is
    permanent, and may be one that only a newer release has.
    """

    role: Role
    facts: Facts | None = None
    code: str | None = None
    detail: str = ""


class Made(NamedTuple):
    """All that a job's stage makes of a content is made; `facts` are those of a primary stage."""

    tenant_id: UUID
    sha256: bytes
    job_id: UUID
    stage: Stage
    facts: Facts | None = None


_MADE_COLUMNS = """
    tenant_id uuid, sha256 text, stage text, job_id uuid, width int, height int, duration_s double precision,
    details jsonb
"""
_MADE = f"""
    (
        SELECT tenant_id, decode(sha256, 'hex') AS sha256, stage, job_id, width, height, duration_s, details
        FROM {few("made", _MADE_COLUMNS)} AS one
    ) AS made
"""  # noqa: S608 - made of constants


class _Statements(NamedTuple):
    """What is asked of a table of contents."""

    join: sa.TextClause
    take_over: sa.TextClause
    lock: sa.TextClause
    close: sa.TextClause
    wake: sa.TextClause
    doom: sa.TextClause
    promote: sa.TextClause
    reopen: sa.TextClause
    let_sleep: sa.TextClause

    @classmethod
    def of(cls, table: str, key: tuple[str, ...], facts: tuple[str, ...], twins: str, purging: str) -> Self:
        """`twins` says which of a content's sleeping jobs are twins in this table; `{of}` stands for the content."""
        names, values = ", ".join(key), ", ".join(f":{name}" for name in key)
        of_key = f"({names}) = ({values})"
        of_made = " AND ".join(f"{table}.{name} = made.{name}" for name in key)
        asleep = f"""
            jobs.tenant_id = {{of}}tenant_id AND jobs.content_sha256 = {{of}}sha256 AND jobs.state = 'waiting'
            AND jobs.reason = 'twin' AND {twins}
        """
        asked = "".join(f", {name}" for name in facts)
        told = "".join(f"{name} = made.{name}, " for name in facts)
        forgotten = "".join(f"{name} = NULL, " for name in facts)
        unfailed = "error_code = NULL, error_detail = NULL, reader = NULL"
        return cls(
            join=sa.text(f"""
                INSERT INTO {table} ({names}, state, leader_job_id) VALUES ({values}, 'open', :job_id)
                ON CONFLICT ({names}) DO UPDATE SET updated_at = now()
                RETURNING state, leader_job_id, reader, error_code, error_detail, {purging} AS purging{asked}
            """),  # noqa: S608 - made of constants
            take_over=sa.text(f"""
                UPDATE {table} SET leader_job_id = :job_id, state = 'open', {unfailed} WHERE {of_key}
            """),  # noqa: S608 - made of constants
            lock=sa.text(f"""
                SELECT 1 FROM {table} JOIN {_MADE} USING ({names}) ORDER BY {names} FOR NO KEY UPDATE OF {table}
            """),  # noqa: S608 - made of constants
            close=sa.text(f"""
                WITH closed AS (
                    UPDATE {table} SET state = 'done', {told} {unfailed}, updated_at = now()
                    FROM {_MADE} WHERE {of_made} AND leader_job_id = made.job_id
                    RETURNING made.tenant_id, made.sha256, made.stage
                )
                UPDATE jobs SET due_at = clock_timestamp() FROM closed WHERE {asleep.format(of="closed.")}
            """),  # noqa: S608 - made of constants
            wake=sa.text(f"""
                UPDATE jobs SET due_at = clock_timestamp() FROM {_MADE} WHERE {asleep.format(of="made.")}
            """),  # noqa: S608 - made of constants
            doom=sa.text(f"""
                UPDATE {table} SET state = 'failed', {forgotten} error_code = :code, error_detail = :detail,
                    reader = :reader, updated_at = now()
                WHERE {of_key} AND leader_job_id = :job_id RETURNING 1
            """),  # noqa: S608 - made of constants
            promote=sa.text(f"""
                WITH heir AS (
                    SELECT id FROM jobs WHERE {asleep.format(of=":")}
                    ORDER BY created_at, id LIMIT 1 FOR NO KEY UPDATE
                ), led AS (
                    UPDATE {table} SET leader_job_id = heir.id FROM heir
                    WHERE {of_key} AND leader_job_id = :job_id RETURNING heir.id
                )
                UPDATE jobs SET due_at = clock_timestamp() FROM led WHERE jobs.id = led.id
            """),  # noqa: S608 - made of constants
            reopen=sa.text(f"""
                UPDATE {table} SET leader_job_id = :job_id, state = 'open', {unfailed}
                WHERE tenant_id = :tenant_id AND sha256 = :sha256 AND state = 'failed'
            """),  # noqa: S608 - made of constants
            # A leader's end that comes meanwhile waits for these rows, which are locked, and wakes them after all.
            let_sleep=sa.text(f"""
                UPDATE jobs SET due_at = clock_timestamp() + :check * interval '1 second'
                FROM {table} c JOIN jobs leader ON leader.id = c.leader_job_id
                WHERE jobs.id = ANY(CAST(:ids AS uuid[])) AND {asleep.format(of="c.")}
                    AND c.state = 'open' AND leader.id <> jobs.id AND {_ALIVE.format(job="leader")}
                RETURNING jobs.id
            """),  # noqa: S608 - made of constants
        )


_PRIMARY = _Statements.of(
    "content", ("tenant_id", "sha256"), Facts.__struct_fields__, "jobs.stage LIKE '%.primary'", PURGING
)
_SECONDARY = _Statements.of(
    "content_stages",
    ("tenant_id", "sha256", "stage"),
    (),
    "jobs.stage = {of}stage",
    f"(SELECT {PURGING} FROM content c WHERE c.tenant_id = :tenant_id AND c.sha256 = :sha256)",  # noqa: S608
)
_LEADER_ALIVE = sa.text(f"SELECT 1 FROM jobs WHERE id = :job_id AND {_ALIVE.format(job='jobs')}")  # noqa: S608
_REMEMBER = sa.text("""
    UPDATE jobs SET content_sha256 = :sha256 WHERE id = :job_id AND epoch = :epoch AND state = 'running' RETURNING id
""")
_PARK = sa.text("""
    UPDATE jobs SET state = 'waiting', reason = 'twin', content_sha256 = :sha256, owner = NULL, lease_until = NULL,
        due_at = clock_timestamp() + :check * interval '1 second'
    WHERE id = :job_id AND epoch = :epoch AND state = 'running' RETURNING id
""")


async def hand_on(connection: AsyncConnection, tenant_id: UUID, sha256: bytes, job_id: UUID, stage: str) -> None:
    """Make the oldest twin leader in a leader's place that goes without having closed the content.

    `stage` may be one that only a newer release knows.
    """
    await connection.execute(_asked(stage).promote, _key(tenant_id, sha256, stage) | {"job_id": job_id})


async def reopen(connection: AsyncConnection, tenant_id: UUID, sha256: bytes, job_id: UUID) -> None:
    """Let a job try bytes again that failed for good, and those that follow it; does nothing if they did not."""
    for ask in (_PRIMARY, _SECONDARY):
        await connection.execute(ask.reopen, {"tenant_id": tenant_id, "sha256": sha256, "job_id": job_id})


async def let_sleep(connection: AsyncConnection, due: Sequence[UUID]) -> set[UUID]:
    """Of jobs that are due, and that the caller has locked, let twins whose leader is alive sleep on; returns which.

    Queued, they would take credit, which their leader may wait for, and come back.
    """
    values = {"ids": list(due), "check": TWIN_CHECK_S}
    asked = (_PRIMARY, _SECONDARY) if due else ()
    return {job_id for ask in asked for job_id in (await connection.execute(ask.let_sleep, values)).scalars()}


async def join_content(
    connection: AsyncConnection,
    *,
    tenant_id: UUID,
    sha256: bytes,
    job_id: UUID,
    epoch: int,
    stage: Stage,
) -> Decision | None:
    """Decide what the job is to these bytes. None: the job is fenced.

    A twin is parked, and its credit passed on, which may be what its leader waits for. Bytes that failed where less
    could be read (`READER`) are open again.
    """
    ask, key = _asked(stage), _key(tenant_id, sha256, stage)
    row = (await connection.execute(ask.join, key | {"job_id": job_id})).mappings().one()
    held = {"job_id": job_id, "epoch": epoch, "sha256": sha256}
    if row["purging"]:
        # What stands in the store is about to go: nothing may be adopted from it.
        return await _park(connection, held | {"check": PURGE_CHECK_S}, tenant_id, stage)
    outread = row["state"] == "failed" and (row["reader"] or 0) < READER
    if outread:
        await connection.execute(ask.take_over, key | {"job_id": job_id})
    elif row["leader_job_id"] != job_id and row["state"] == "open":
        if (await connection.execute(_LEADER_ALIVE, {"job_id": row["leader_job_id"]})).one_or_none():
            return await _park(connection, held | {"check": TWIN_CHECK_S}, tenant_id, stage)
        await connection.execute(ask.take_over, key | {"job_id": job_id})
    if (await connection.execute(_REMEMBER, held)).one_or_none() is None:
        return None
    if row["state"] == "done":
        return Decision(Role.REUSE, facts=_facts(row) if stage.primary else None)
    if row["state"] == "failed" and not outread:
        return Decision(Role.DOOMED, code=row["error_code"], detail=row["error_detail"] or "")
    return Decision(Role.LEADER)


async def _park(connection: AsyncConnection, values: dict[str, Any], tenant_id: UUID, stage: Stage) -> Decision | None:
    if (await connection.execute(_PARK, values)).one_or_none() is None:
        return None
    await pass_on(connection, tenant_id, stage)
    return Decision(Role.TWIN)


async def lock_contents(connection: AsyncConnection, made: Sequence[Made]) -> None:
    """Lock what several jobs made, in one order, before the jobs are locked."""
    for ask, some in _by_table(made):
        await connection.execute(ask.lock, _values(some))


async def close_contents(connection: AsyncConnection, made: Sequence[Made]) -> None:
    """The leaders' good ends: their twins are due. Does nothing for jobs that do not lead.

    The caller has locked the contents (`lock_contents`): a twin that fell asleep before is seen.
    """
    for ask, some in _by_table(made):
        await connection.execute(ask.close, _values(some))


async def doom_content(
    connection: AsyncConnection,
    tenant_id: UUID,
    sha256: bytes,
    job_id: UUID,
    *,
    stage: Stage,
    code: str,
    detail: str | None = None,
) -> None:
    """The leader's bad end: make its twins due, or, where the bytes are not to blame, make the oldest twin leader.

    Does nothing for a job that does not lead.
    """
    # Two statements, unlike `close`: one would miss a twin that fell asleep while it waited for the content's lock.
    ask, key = _asked(stage), _key(tenant_id, sha256, stage)
    if code not in OF_THE_CONTENT:
        await connection.execute(ask.promote, key | {"job_id": job_id})
    elif (
        await connection.execute(ask.doom, key | {"job_id": job_id, "code": code, "detail": detail, "reader": READER})
    ).one_or_none():
        await connection.execute(ask.wake, _values([Made(tenant_id, sha256, job_id, stage)]))


def _by_table(made: Sequence[Made]) -> Iterator[tuple[_Statements, list[Made]]]:
    for ask in (_PRIMARY, _SECONDARY):
        some = [one for one in made if _asked(one.stage) is ask]
        if some:
            yield ask, some


def _values(made: Sequence[Made]) -> dict[str, str]:
    rows = [
        {"tenant_id": one.tenant_id, "sha256": one.sha256.hex(), "stage": one.stage, "job_id": one.job_id}
        | (one.facts.columns() if one.facts else {})
        for one in made
    ]
    return {"made": json_text(rows)}


def _asked(stage: str) -> _Statements:
    return _PRIMARY if is_primary(stage) else _SECONDARY


def _key(tenant_id: UUID, sha256: bytes, stage: str) -> dict[str, Any]:
    key = {"tenant_id": tenant_id, "sha256": sha256}
    return key if is_primary(stage) else key | {"stage": str(stage)}


def _facts(row: sa.RowMapping) -> Facts:
    return msgspec.convert({name: row[name] for name in Facts.__struct_fields__}, Facts)
