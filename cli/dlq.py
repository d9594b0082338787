"""`medialane dlq`: dead letters listed, shown, replayed and purged."""

import asyncio
import base64
import os
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.common.ages import WHEN, Pace
from cli.common.database import in_transaction, worker_database
from cli.common.groups import Commands
from cli.common.numbers import MOST_ROWS, Finite
from connectors.kafka.producer import RecordProducer
from connectors.postgres import audit
from connectors.postgres.accounts.tenants import find_tenant
from connectors.postgres.database import Database
from connectors.postgres.protocol import letters
from connectors.postgres.protocol.dead_letters import header_bytes
from connectors.postgres.protocol.letters import Chosen, Group, Letter
from connectors.telemetry.tracing import Tracing
from schemas.errors import ERRORS, ErrorClass, ErrorCode, MedialaneError
from schemas.settings import KafkaSettings, load

F = TypeVar("F", bound=Callable[..., Any])

_CODES = [code.value for code, spec in ERRORS.items() if spec.error_class is not ErrorClass.REQUEST]
_MOST = 100_000
_PURGE_BATCH = 1000


@click.group(cls=Commands)
def dlq() -> None:
    """Dead letters: jobs that were given up, and records that could not be decoded.

    The database is the one that MEDIALANE_DATABASE_URL names, under the worker role. AGE is 90s, 30m, 2h, 7d (that long
    ago) or an ISO date.
    """


def _choosing(command: F) -> F:
    """The conditions that every subcommand takes."""
    options = (
        click.option("--tenant", help="Only of this tenant (its slug)."),
        click.option("--code", type=click.Choice(_CODES), metavar="CODE", help="Only with this error code."),
        click.option("--older-than", "before", type=WHEN, metavar="AGE", help="Only older than this."),
        click.option("--since", type=WHEN, metavar="AGE", help="Only as young as this."),
    )
    for option in reversed(options):
        command = option(command)
    return command


async def _chosen(
    connection: AsyncConnection,
    tenant: str | None,
    code: str | None,
    before: datetime | None,
    since: datetime | None,
    *,
    replayed: bool = False,
    ids: tuple[UUID, ...] = (),
) -> Chosen:
    tenant_id = None if tenant is None else (await find_tenant(connection, tenant)).id
    return Chosen(tenant_id=tenant_id, code=code, before=before, since=since, replayed=replayed, ids=ids or None)


@dlq.command("ls")
@_choosing
@click.option("--replayed", is_flag=True, help="Also those that were replayed.")
@click.option(
    "--limit", type=click.IntRange(1, MOST_ROWS), default=50, show_default=True, help="Most letters, oldest first."
)
@click.option("--summary", is_flag=True, help="Only how many, by tenant and code.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def listing(
    tenant: str | None,
    code: str | None,
    before: datetime | None,
    since: datetime | None,
    replayed: bool,
    limit: int,
    summary: bool,
    as_json: bool,
) -> None:
    """List dead letters that nobody replayed yet, oldest first."""

    async def work(connection: AsyncConnection) -> tuple[tuple[Group, ...], tuple[Letter, ...]]:
        chosen = await _chosen(connection, tenant, code, before, since, replayed=replayed)
        groups = await letters.count_letters(connection, chosen)
        return groups, () if summary else await letters.list_letters(connection, chosen, limit=limit)

    groups, found = in_transaction(work)
    if as_json:
        click.echo(msgspec.json.encode(groups if summary else found).decode())
        return
    if summary:
        _tell_groups(groups)
        return
    for letter in found:
        _tell(letter)
    if not found:
        click.echo("no dead letters", err=True)
    total = sum(group.letters for group in groups)
    if total > len(found):
        click.echo(f"{len(found)} of {total}: --limit shows more, --summary counts them", err=True)


@dlq.command()
@click.argument("letter_id", type=click.UUID)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; bytes in base64.")
def show(letter_id: UUID, as_json: bool) -> None:
    """Show one dead letter with everything that is known of it."""

    async def work(connection: AsyncConnection) -> tuple[Letter, letters.RawRecord]:
        (letter,) = await _named(connection, (letter_id,))
        return letter, await letters.raw_record(connection, letter_id)

    letter, record = in_transaction(work)
    if as_json:
        click.echo(msgspec.json.encode(msgspec.structs.asdict(letter) | msgspec.structs.asdict(record)).decode())
        return
    for name, value in msgspec.structs.asdict(letter).items():
        if value is not None:
            click.echo(f"{name:<12} {value}")
    if letter.job_id is None:
        click.echo(f"{'key':<12} {_preview(record.key)}\n{'value':<12} {_preview(record.value)}")
        for name, text in record.headers:
            click.echo(f"{'header':<12} {name}={text}")


@dlq.command()
@click.argument("letter_ids", type=click.UUID, nargs=-1)
@_choosing
@click.option("--rate", type=Finite(min=0, min_open=True), default=10.0, show_default=True, help="A second.")
@click.option(
    "--limit", type=click.IntRange(1, MOST_ROWS), default=_MOST, show_default=True, help="Most letters, oldest first."
)
@click.option("--dry-run", is_flag=True, help="Say what would be replayed, and change nothing.")
def replay(
    letter_ids: tuple[UUID, ...],
    tenant: str | None,
    code: str | None,
    before: datetime | None,
    since: datetime | None,
    rate: float,
    limit: int,
    dry_run: bool,
) -> None:
    """Replay dead letters: those with LETTER_IDS, or all that the conditions choose.

    A job's asset gets a new generation, whose job runs behind fresh uploads. What could not be decoded is sent again as
    it came (this needs MEDIALANE_KAFKA_*). Each letter is replayed once; an asset that has moved on is left alone.
    """
    _one_condition(letter_ids, tenant, code, before, since)

    async def choose(connection: AsyncConnection) -> tuple[tuple[Group, ...], tuple[Letter, ...]]:
        await _named(connection, letter_ids)
        chosen = await _chosen(connection, tenant, code, before, since, ids=letter_ids)
        groups = await letters.count_letters(connection, chosen)
        return groups, await letters.list_letters(connection, chosen, limit=limit)

    groups, found = in_transaction(choose)
    if dry_run:
        _tell_groups(groups)
        click.echo(f"would replay {len(found)} dead letters, {rate:g} a second")
        return
    done, left = asyncio.run(_replay(found, rate))
    click.echo(f"replayed {done}, left alone {left}")


@dlq.command()
@click.argument("letter_ids", type=click.UUID, nargs=-1)
@_choosing
@click.option("--replayed", is_flag=True, help="Also those that were replayed.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and change nothing.")
def purge(
    letter_ids: tuple[UUID, ...],
    tenant: str | None,
    code: str | None,
    before: datetime | None,
    since: datetime | None,
    replayed: bool,
    dry_run: bool,
) -> None:
    """Delete dead letters for good: those with LETTER_IDS, or all that the conditions choose.

    Records in the dead-letter topic stay for that topic's retention.
    """
    _one_condition(letter_ids, tenant, code, before, since)

    async def choose(connection: AsyncConnection) -> tuple[Chosen, tuple[Group, ...]]:
        chosen = await _chosen(connection, tenant, code, before, since, replayed=replayed, ids=letter_ids)
        return chosen, await letters.count_letters(connection, chosen)

    chosen, groups = in_transaction(choose)
    _tell_groups(groups)
    if dry_run:
        click.echo(f"would delete {sum(group.letters for group in groups)} dead letters")
        return
    deleted, actor = 0, audit.operator()
    while batch := in_transaction(partial(letters.purge_letters, chosen=chosen, limit=_PURGE_BATCH, actor=actor)):
        deleted += batch
        click.echo(f"{deleted} deleted ...", err=True)
    click.echo(f"deleted {deleted}")


async def _replay(found: tuple[Letter, ...], rate: float) -> tuple[int, int]:
    producer = None
    if any(letter.job_id is None for letter in found):
        producer = RecordProducer(load(KafkaSettings, os.environ), Tracing("medialane-cli"))
    pace, done, actor = Pace(rate, len(found)), 0, audit.operator()
    async with worker_database() as database:
        for letter in found:
            await pace.step()
            try:
                if letter.job_id is not None:
                    async with database.transaction() as connection:
                        await letters.replay_job(connection, letter, actor=actor)
                elif producer is not None:
                    await _send_again(database, producer, letter, actor)
            except MedialaneError as error:
                if error.code not in (ErrorCode.CONFLICT, ErrorCode.NOT_FOUND):
                    raise
                click.echo(f"{letter.id}  left alone: {error.detail}", err=True)
            else:
                done += 1
    return done, len(found) - done


async def _send_again(database: Database, producer: RecordProducer, letter: Letter, actor: str) -> None:
    async with database.transaction() as connection:
        record = await letters.raw_record(connection, letter.id)
    headers = [(name, header_bytes(text)) for name, text in record.headers]
    # Sent first, marked then: a crash between the two repeats the record, which its readers take for a repeat.
    await producer.send(letter.topic, key=record.key, value=record.value, headers=headers, partition=letter.kpart)
    async with database.transaction() as connection:
        await letters.mark_replayed(connection, letter, actor=actor, detail={"topic": letter.topic})


def _one_condition(letter_ids: tuple[UUID, ...], *conditions: object) -> None:
    if not letter_ids and all(condition is None for condition in conditions):
        raise click.UsageError("name letters by id, or at least one of --tenant, --code, --older-than, --since")


async def _named(connection: AsyncConnection, letter_ids: tuple[UUID, ...]) -> tuple[Letter, ...]:
    """These dead letters, replayed or not. Raises `MedialaneError` if one of them is none."""
    found = await letters.list_letters(connection, Chosen(ids=letter_ids, replayed=True), limit=len(letter_ids))
    known = {letter.id for letter in found}
    if unknown := ", ".join(str(letter_id) for letter_id in letter_ids if letter_id not in known):
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no dead letter {unknown}.")
    return found


def _tell(letter: Letter) -> None:
    what = letter.asset_id or f"{letter.topic}/{letter.kpart}@{letter.koffset}"
    again = "  replayed" if letter.replayed_at else ""
    click.echo(
        f"{letter.id}  {letter.created_at:%Y-%m-%d %H:%M:%S}  {letter.tenant or '-'}  {letter.code}  {what}{again}"
    )


def _tell_groups(groups: tuple[Group, ...]) -> None:
    for group in groups:
        click.echo(f"{group.letters:>7}  {group.tenant or '-'}  {group.code}  since {group.oldest:%Y-%m-%d %H:%M}")
    if not groups:
        click.echo("no dead letters", err=True)


def _preview(content: bytes | None) -> str:
    if content is None:
        return "(none)"
    text = content[:200].decode("utf-8", "replace")
    shown = text if text.isprintable() else "base64:" + base64.b64encode(content[:200]).decode()
    return f"{shown} ({len(content)} bytes)"
