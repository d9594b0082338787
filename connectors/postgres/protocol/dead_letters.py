"""Dead letters: what was given up, in a table for listing and replay, and in the dead-letter topic for others."""

import base64
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from connectors.postgres.json_text import json_text
from connectors.postgres.outbox import ErrorHeaders
from schemas.errors import ErrorCode
from schemas.ids import uuid7
from schemas.records import DEAD_LETTER_TYPE, DeadLetter, Origin
from schemas.states import Stage
from schemas.topics import DEAD_LETTERS, job_topic

_INSERT_JOB = sa.text("""
    INSERT INTO dead_letters (id, tenant_id, job_id, asset_id, topic, code, detail, attempts, traceparent)
    VALUES (:id, :tenant_id, :job_id, :asset_id, :topic, :code, :detail, :attempts, :traceparent)
""")
# A topic that was made anew counts its offsets from the start: another record at the same place is another letter.
_INSERT_RECORD = sa.text("""
    INSERT INTO dead_letters (id, topic, kpart, koffset, key, value, headers, code, detail, traceparent)
    VALUES (:id, :topic, :kpart, :koffset, :key, :value, :headers, :code, :detail, :traceparent)
    ON CONFLICT (topic, kpart, koffset) DO UPDATE SET id = excluded.id, key = excluded.key, value = excluded.value,
        headers = excluded.headers, code = excluded.code, detail = excluded.detail, traceparent = excluded.traceparent,
        created_at = excluded.created_at, replayed_at = NULL
    WHERE (dead_letters.key, dead_letters.value, dead_letters.headers)
        IS DISTINCT FROM (excluded.key, excluded.value, excluded.headers)
""").bindparams(sa.bindparam("headers", type_=sa.JSON))
_BASE64 = "base64:"


class BadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A Kafka record that could not be read, as it came. Headers are (name, value as `header_text`) pairs."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | None]]
    detail: str
    traceparent: str | None = None


async def bury(
    connection: AsyncConnection,
    *,
    job_id: UUID,
    tenant_id: UUID,
    asset_id: UUID,
    stage: Stage,
    generation: int,
    code: str,
    detail: str,
    attempts: int,
    deaths: int,
    traceparent: str | None,
    origin: Origin | None = None,
) -> UUID:
    """Write a job's dead letter and its outbox row; returns its id."""
    identifier = uuid7()
    route = job_topic(stage).route
    await connection.execute(
        _INSERT_JOB,
        {
            "id": identifier, "tenant_id": tenant_id, "job_id": job_id, "asset_id": asset_id, "topic": route,
            "code": code, "detail": detail, "attempts": attempts, "traceparent": traceparent,
        },
    )  # fmt: skip
    letter = DeadLetter(
        dead_letter_id=identifier, job_id=job_id, tenant_id=tenant_id, asset_id=asset_id, stage=stage,
        generation=generation, code=code, detail=detail, attempts=attempts, deaths=deaths,
    )  # fmt: skip
    await outbox.write(
        connection, route=DEAD_LETTERS.route, subject_id=str(job_id), key=str(tenant_id), tenant_id=tenant_id,
        record_type=DEAD_LETTER_TYPE, payload=json_text(letter), traceparent=traceparent,
        errors=_headers(letter, route, origin),
    )  # fmt: skip
    return identifier


def _headers(letter: DeadLetter, route: str, origin: Origin | None) -> ErrorHeaders:
    """Kafka's names and ours, as `streams.dead_letters` gives them to what cannot be decoded."""
    return ErrorHeaders(
        topic=origin.topic if origin else route,
        kpart=str(origin.partition) if origin else None,
        koffset=str(origin.offset) if origin else None,
        group=origin.group if origin else None,
        deliveries=str(letter.attempts + letter.deaths),
        message=letter.detail,
        code=letter.code,
        attempts=str(letter.attempts),
    )


async def bury_record(connection: AsyncConnection, record: BadRecord) -> None:
    """Remember a record that is no dispatch; once per (topic, partition, offset), however often it is read.

    Of different records there the last is kept.
    """
    await connection.execute(
        _INSERT_RECORD,
        {
            "id": uuid7(), "topic": record.topic, "kpart": record.partition, "koffset": record.offset,
            "key": record.key, "value": record.value, "headers": [list(pair) for pair in record.headers],
            "code": ErrorCode.UNDECODABLE_RECORD, "detail": record.detail, "traceparent": record.traceparent,
        },
    )  # fmt: skip


def header_text(value: bytes | None) -> str | None:
    """A header's value for a JSON column; what is no text stands there in base64. Postgres takes no NUL in text."""
    if value is None:
        return None
    try:
        text = bytes(value).decode()
    except UnicodeDecodeError:
        text = "\0"
    plain = "\0" not in text and not text.startswith(_BASE64)
    return text if plain else _BASE64 + base64.b64encode(value).decode()


def header_bytes(text: str | None) -> bytes | None:
    """A header's value as it came, from its row."""
    if text is None or not text.startswith(_BASE64):
        return None if text is None else text.encode()
    return base64.b64decode(text.removeprefix(_BASE64))
