"""Dead letters as operators handle them: listed, shown, replayed once, purged. They are written in `dead_letters`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import audit
from connectors.postgres.protocol.replay import replay_asset
from schemas.errors import ErrorCode, MedialaneError
from schemas.states import JobClass

_WHERE = """
    (CAST(:tenant_id AS uuid) IS NULL OR d.tenant_id = :tenant_id)
    AND (CAST(:code AS text) IS NULL OR d.code = :code)
    AND (CAST(:before AS timestamptz) IS NULL OR d.created_at < :before)
    AND (CAST(:since AS timestamptz) IS NULL OR d.created_at >= :since)
    AND (:replayed OR d.replayed_at IS NULL)
    AND (CAST(:ids AS uuid[]) IS NULL OR d.id = ANY(:ids))
"""
_COLUMNS = """
    d.id, d.tenant_id, t.slug AS tenant, d.job_id, d.asset_id, j.stage, j.generation, d.topic, d.kpart, d.koffset,
    d.code, d.detail, d.attempts, d.traceparent, d.created_at, d.replayed_at
"""
_FROM = "dead_letters d LEFT JOIN tenants t ON t.id = d.tenant_id LEFT JOIN jobs j ON j.id = d.job_id"
_LIST = sa.text(f"SELECT {_COLUMNS} FROM {_FROM} WHERE {_WHERE} ORDER BY d.created_at, d.id LIMIT :limit")  # noqa: S608 - constants
_COUNT = sa.text(f"""
    SELECT coalesce(t.slug, '') AS tenant, d.code, count(*) AS letters, min(d.created_at) AS oldest
    FROM {_FROM} WHERE {_WHERE} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
""")  # noqa: S608 - constants
_BYTES = sa.text("SELECT key, value, headers FROM dead_letters WHERE id = :id")
_REPLAYED = sa.text("UPDATE dead_letters SET replayed_at = clock_timestamp() WHERE id = :id AND replayed_at IS NULL")
_PURGE = sa.text(f"""
    DELETE FROM dead_letters
    WHERE id IN (SELECT d.id FROM {_FROM} WHERE {_WHERE} ORDER BY d.created_at, d.id LIMIT :limit)
""")  # noqa: S608 - constants
# Of no tenant: a job's letter goes with its asset.
_PURGE_RECORDS = sa.text("""
    DELETE FROM dead_letters WHERE id IN (
        SELECT id FROM dead_letters
        WHERE tenant_id IS NULL AND created_at < statement_timestamp() - :kept * interval '1 second'
        ORDER BY created_at LIMIT :batch FOR UPDATE SKIP LOCKED
    )
""")


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters: every condition that is given must hold. `replayed`: those that were replayed, too."""

    tenant_id: UUID | None = None
    code: str | None = None
    before: datetime | None = None
    since: datetime | None = None
    replayed: bool = False
    ids: tuple[UUID, ...] | None = None

    def values(self) -> dict[str, Any]:
        """For the statements here."""
        return msgspec.structs.asdict(self) | {"ids": None if self.ids is None else list(self.ids)}


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter: of a job, or (without one) of a record that could not be decoded."""

    id: UUID
    tenant_id: UUID | None
    tenant: str | None
    job_id: UUID | None
    asset_id: UUID | None
    stage: str | None
    generation: int | None
    topic: str
    kpart: int | None
    koffset: int | None
    code: str
    detail: str
    attempts: int
    traceparent: str | None
    created_at: datetime
    replayed_at: datetime | None


class RawRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a letter without a job, as it came; headers are (name, value as `header_text`) pairs."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | None]]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """How many dead letters a tenant has of a code."""

    tenant: str
    code: str
    letters: int
    oldest: datetime


async def list_letters(connection: AsyncConnection, chosen: Chosen, *, limit: int) -> tuple[Letter, ...]:
    """The chosen letters, oldest first."""
    rows = await connection.execute(_LIST, chosen.values() | {"limit": limit})
    return tuple(Letter(**row) for row in rows.mappings())


async def count_letters(connection: AsyncConnection, chosen: Chosen) -> tuple[Group, ...]:
    """How many are chosen, by tenant and code, most first."""
    return tuple(Group(**row) for row in (await connection.execute(_COUNT, chosen.values())).mappings())


async def raw_record(connection: AsyncConnection, letter_id: UUID) -> RawRecord:
    """The bytes of a letter. Raises `MedialaneError(not_found)`."""
    row = (await connection.execute(_BYTES, {"id": letter_id})).one_or_none()
    if row is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no dead letter {letter_id}.")
    pair = (None if content is None else bytes(content) for content in (row.key, row.value))
    return RawRecord(key=next(pair), value=next(pair), headers=[(name, value) for name, value in row.headers])


async def replay_job(connection: AsyncConnection, letter: Letter, *, actor: str) -> UUID:
    """Open a new generation for the asset of a job's letter, once; returns the new job's id.

    Raises `MedialaneError`: not_found if the asset is gone, conflict if it has moved on since.
    """
    if letter.asset_id is None or letter.generation is None:
        raise ValueError("this letter has no job: send its bytes again")
    trace = letter.traceparent
    job_id = await replay_asset(
        connection, letter.asset_id, reason=f"replay of {letter.code}", job_class=JobClass.SECONDARY,
        generation=letter.generation, traceparent=trace,
    )  # fmt: skip
    await mark_replayed(connection, letter, actor=actor, detail={"job_id": str(job_id)})
    return job_id


async def mark_replayed(
    connection: AsyncConnection, letter: Letter, *, actor: str, detail: dict[str, Any] | None = None
) -> None:
    """Remember that a letter was replayed, and by whom. Raises `MedialaneError(conflict)` if it was before."""
    if not (await connection.execute(_REPLAYED, {"id": letter.id})).rowcount:
        raise MedialaneError(ErrorCode.CONFLICT, "It was replayed before, or is gone.")
    facts = {"code": letter.code, "asset_id": str(letter.asset_id) if letter.asset_id else None, **(detail or {})}
    await audit.note(
        connection, actor=actor, action="dlq.replay", tenant_id=letter.tenant_id, subject=str(letter.id), detail=facts
    )


async def purge_letters(connection: AsyncConnection, chosen: Chosen, *, limit: int, actor: str) -> int:
    """Delete up to `limit` of the chosen rows, oldest first; returns how many. What is in Kafka stays its time."""
    purged = (await connection.execute(_PURGE, chosen.values() | {"limit": limit})).rowcount
    if purged:
        wanted: Sequence[str] = ("tenant_id", "code", "before", "since", "replayed")
        values = msgspec.to_builtins({name: getattr(chosen, name) for name in wanted})
        await audit.note(
            connection, actor=actor, action="dlq.purge", tenant_id=chosen.tenant_id, subject="",
            detail={"letters": purged, "chosen": values, "ids": len(chosen.ids or ())},
        )  # fmt: skip
    return purged


async def purge_records(connection: AsyncConnection, *, kept_s: float, batch: int) -> int:
    """Delete some of the records that could not be decoded and came longer ago than `kept_s`, the oldest first; how
    many. Nobody knows whose they are, so no deletion of an asset or a tenant reaches them.
    """
    return (await connection.execute(_PURGE_RECORDS, {"kept": kept_s, "batch": batch})).rowcount
