"""`medialane usage`: what each tenant used, from the table that `medialane run usage` keeps."""

import os
import time

import click
import msgspec

from cli.common.database import in_transaction
from cli.partitions.options import AS_JSON, Duration, table
from connectors.kafka.snapshot import read_topic
from connectors.postgres.accounts.tenants import list_tenants
from schemas.settings import KafkaSettings, load
from schemas.topics import USAGE
from schemas.usage import Counts, as_row, by_tenant, read_changelog

_SIZES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@click.command()
@click.option("--tenant", help="Only this tenant (its slug).")
@click.option(
    "--window", type=Duration(), default="24h", show_default=True,
    help="How far back; whole windows of the table (MEDIALANE_USAGE_WINDOW_S, an hour unless set) count.",
)  # fmt: skip
@AS_JSON
def usage(tenant: str | None, window: float, as_json: bool) -> None:
    """Show what each tenant used: jobs, CPU seconds, bytes, waits before a job's start.

    Takes MEDIALANE_KAFKA_* (the table's changelog is read) and MEDIALANE_DATABASE_URL (for the tenants' names). The
    last seconds may be missing: the table follows the events. It counts each record of the events topic once.
    """
    kafka = load(KafkaSettings, os.environ)
    names = {str(found.id): found.slug for found in in_transaction(list_tenants)}
    if tenant is not None and tenant not in names.values():
        raise click.ClickException(f"there is no tenant {tenant!r}; `medialane tenants ls` lists them")
    records = read_topic(kafka, USAGE.name(kafka.topic_prefix))
    sums = by_tenant(read_changelog(records), since=time.time() - window)
    shown = {names.get(tenant_id, tenant_id): counts for tenant_id, counts in sums.items()}
    shown = {name: counts for name, counts in sorted(shown.items()) if tenant in (None, name)}
    if as_json:
        click.echo(msgspec.json.encode({name: as_row(counts) for name, counts in shown.items()}).decode())
        return
    if not shown:
        click.echo("nothing was counted in the window; is `medialane run usage` up?", err=True)
        return
    headings = ("tenant", "done", "failed", "CPU s", "uploads", "bytes in", "bytes out", "mean wait s", "longest s")
    click.echo(table(headings, [_row(name, counts) for name, counts in shown.items()]))


def _row(name: str, counts: Counts) -> tuple[object, ...]:
    mean = counts.wait_s / counts.waits if counts.waits else 0.0
    return (
        name, counts.jobs_done, counts.jobs_failed, f"{counts.cpu_s:.1f}", counts.uploads, _size(counts.bytes_in),
        _size(counts.bytes_out), f"{mean:.2f}", f"{counts.longest_wait_s:.2f}",
    )  # fmt: skip


def _size(count: int) -> str:
    return next((f"{count / size:.1f} {unit}" for size, unit in _SIZES if count >= size), f"{count} B")
