"""What `medialane partitions simulate` runs again: the jobs of a history or of a mix, and the platform they are for."""

import math
import os
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.common.database import in_transaction
from cli.partitions.moving import Situation, situations
from connectors.postgres.placement import tuning
from connectors.postgres.placement.placements import tenant_credits
from connectors.postgres.protocol.job_history import FinishedJob, finished_jobs
from schemas.settings import WorkerSettings, load
from schemas.states import JobClass
from schemas.topics import IMAGE_JOBS
from streams.core.roundrobin import Share, Shares
from streams.cores import available_cores, available_memory_mib, children
from streams.simulation.mix import MixError, jobs_of, read_mix
from streams.simulation.model import Job
from streams.simulation.outcome import Outcome, Span, outcome


class _History(msgspec.Struct):
    jobs: Sequence[FinishedJob]
    situation: Situation
    credits: Mapping[str, int]
    shares: Mapping[str, Share]
    running: int
    window: int


class Base(msgspec.Struct):
    """Jobs, and the platform that they ran on. `slots`: of each worker, or of all of them if `recorded`."""

    jobs: list[Job]
    placed: dict[str, tuple[int, ...]]
    situation: Situation
    credits: Mapping[str, int]
    shares: Shares
    bounds: tuple[int, int]
    slots: int
    transport_s: float
    recorded: Outcome | None = None

    def slots_of(self, workers: int) -> int:
        """The slots of each of so many workers, where nothing else is said."""
        return self.slots if self.recorded is None else math.ceil(self.slots / workers)


def from_mix(file: Path, seed: int) -> Base:
    """A mix, on workers like one that would be started here."""
    try:
        mix = read_mix(file.read_text(encoding="utf-8"))
    except MixError as error_:
        raise click.ClickException(f"{file} is no mix: {error_}; begin from `partitions simulate --example`") from None
    placed = {tenant.name: tenant.partitions for tenant in mix.tenants if tenant.partitions}
    partitions = max([IMAGE_JOBS.partitions, *(kpart + 1 for kparts in placed.values() for kpart in kparts)])
    situation = Situation(partitions)
    for tenant in mix.tenants:
        jobs = tenant.burst + tenant.per_s * mix.duration_s
        cost = jobs * (tenant.cpu_s or tenant.seconds)
        situation.loads[tenant.name] = situation.loads.get(tenant.name, 0.0) + cost
        situation.placed[tenant.name] = placed.get(tenant.name) or by_hash(tenant.name, partitions)
    workers = load(WorkerSettings, os.environ)
    computing = children(workers.slots, cores=available_cores(), memory_mib=available_memory_mib())
    return Base(
        jobs=jobs_of(mix, seed=seed), placed=situation.placed, situation=situation, credits={}, shares=Shares(),
        bounds=(workers.lane_concurrency, workers.lane_window), slots=computing + 1,
        transport_s=0.0,
    )  # fmt: skip


def from_history(topic: str, window: float) -> Base:
    """What has ended of a topic within so many seconds, on the lanes, shares and placements of now."""
    until, workers = datetime.now(UTC), load(WorkerSettings, os.environ)

    async def read(connection: AsyncConnection) -> _History:
        found = (await situations(connection, window)).get(topic, Situation(0))
        lanes = {one.topic: one for one in await tuning.lane_tunings(connection)}
        mine = lanes.get(topic, tuning.LaneTuning(topic=topic))
        return _History(
            jobs=await finished_jobs(connection, topic, since=until - timedelta(seconds=window), until=until),
            situation=found,
            credits=await tenant_credits(connection),
            shares={one.slug: Share(one.weight, one.cap) for one in await tuning.tenant_shares(connection)},
            running=mine.running or workers.lane_concurrency,
            window=mine.window or workers.lane_window,
        )

    found = in_transaction(read)
    if not found.jobs:
        raise click.ClickException(f"no job of {topic} has ended in the window; give a longer --window, or a --mix")
    recorded = outcome(Span(j.tenant, j.created_at, j.started_at, j.finished_at, j.held_s) for j in found.jobs)
    shares = Shares()
    shares.replace(found.shares)
    placed = found.situation.placed
    first = min(job.created_at for job in found.jobs)
    jobs = [_job(job, first, placed, found.situation.partitions) for job in found.jobs]
    # The quickest tenth waited for nothing but the way from the row to the lane; of those that yield, maybe none did.
    urgent = [job for job in found.jobs if job.job_class is JobClass.PRIMARY] or found.jobs
    waits = sorted(max(0.0, job.started_at - job.created_at) for job in urgent)
    return Base(
        jobs=jobs, placed=placed, situation=found.situation, credits=found.credits, shares=shares,
        bounds=(found.running, found.window), slots=recorded.most_at_once, transport_s=waits[len(waits) // 10],
        recorded=recorded,
    )  # fmt: skip


def _job(job: FinishedJob, first: float, placed: Mapping[str, tuple[int, ...]], partitions: int) -> Job:
    spread = int(job.asset_id.hex[-7:], 16)
    kparts = placed.get(job.tenant) or by_hash(job.tenant, partitions)
    kpart = kparts[spread % len(kparts)] if job.kpart is None else job.kpart
    return Job(job.tenant, job.created_at - first, job.held_s, job.cpu_s, spread, kpart, job.job_class)


def by_hash(tenant: str, partitions: int) -> tuple[int, ...]:
    """Where a tenant is that was placed nowhere."""
    return (zlib.crc32(tenant.encode()) % max(1, partitions),)
