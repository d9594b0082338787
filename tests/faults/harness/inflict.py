"""The faults themselves. Each does its harm, brings back what it took away, and says what it measured."""

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import Awaitable, Callable

import psycopg
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from cli.harness.onboarding import medialane
from cli.stack.layout import layout
from cli.stack.names import BROKERS
from harness.bed import Bed
from harness.plan import WORKERS, Fault
from harness.takeover import held_by, taken_over
from harness.transactions import abort_hanging, lost_markers

READ_COMMITTED, READ_UNCOMMITTED = IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED
SLOT = "medialane_outbox"
_ACTIVE = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active"
_HOLD_BOUND_S = 40.0


async def inflict(bed: Bed, fault: Fault) -> dict:
    """Do it; returns when the harm is undone. The answer has what only some kinds measure (`takeovers`, seconds)."""
    return await FAULTS[fault.kind](bed, fault.pick) or {}


async def kill_worker(bed: Bed, pick: int) -> dict:
    """SIGKILL in mid-job; it comes back when the others have taken its jobs over."""
    name, held = await _frozen_at_work(bed, pick)
    bed.down.add(name)
    since = time.time()
    await asyncio.to_thread(bed.stack.kill, name)
    try:
        seconds = await taken_over(bed, held, since)
        return {"target": name, "takeovers": seconds.claimed, "offered again after": max(seconds.offered, default=0.0)}
    finally:
        await _back(bed, name)


def stop_worker(seconds: float) -> Callable[[Bed, int], Awaitable[dict]]:
    """SIGSTOP, for more than its leases: others do its jobs, and it finds them gone when it wakes up."""

    async def fault(bed: Bed, pick: int) -> dict:
        name, held = await _busy(bed, pick)
        await asyncio.to_thread(bed.stack.kill, name, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(bed.stack.kill, name, signal.SIGCONT)
        return {"target": name, "held": len(held)}

    return fault


async def nothing(bed: Bed, pick: int) -> dict:
    """Two minutes in which long jobs go on."""
    del bed, pick
    await asyncio.sleep(120)
    return {}


async def terminate_worker(bed: Bed, pick: int) -> dict:
    """SIGTERM in mid-job, as in a rolling restart."""
    name, held = await _busy(bed, pick)
    bed.down.add(name)
    await asyncio.to_thread(bed.stack.stop_part, name)
    await _back(bed, name)
    return {"target": name, "held": len(held)}


async def kill_connect(bed: Bed, pick: int) -> dict:
    """SIGKILL while a transaction of the connector's producer is open, if it writes in such."""
    bed.down.add("connect")
    open_in = await asyncio.to_thread(_stop_in_a_transaction, bed) if "connect" in bed.parts else None
    await asyncio.to_thread(bed.stack.kill, "connect")
    await _back(bed, "connect")
    return {"open transaction": open_in is not None, "partition": open_in}


def broker(name: str, *, orderly: bool = False, away_s: float) -> Callable[[Bed, int], Awaitable[dict]]:
    async def fault(bed: Bed, pick: int) -> dict:
        lost = lost_markers(bed)
        bed.down.add(name)
        await asyncio.to_thread(bed.stack.stop_part if orderly else bed.stack.kill, name)
        await asyncio.sleep(away_s)
        await _back(bed, name)
        if lost_markers(bed) == lost:
            return {"target": name}
        return {"target": name, "Kafka lost markers, aborted by hand": await abort_hanging(bed)}

    return fault


def postgres(*, orderly: bool) -> Callable[[Bed, int], Awaitable[dict]]:
    async def fault(bed: Bed, pick: int) -> dict:
        bed.down.add("postgres")
        await asyncio.to_thread(bed.stack.stop_part if orderly else bed.stack.kill, "postgres")
        await asyncio.sleep(3)
        await _back(bed, "postgres")
        return {}

    return fault


async def store_down(bed: Bed, pick: int) -> dict:
    bed.down.add("s3")
    await asyncio.to_thread(bed.stack.stop_part, "s3")
    await asyncio.sleep(25)
    await _back(bed, "s3")
    return {}


async def network_cut(bed: Bed, pick: int) -> dict:
    """Silence between the broker and all of its clients."""
    assert bed.proxy is not None, "this stack has no proxy"
    bed.proxy.send_signal(signal.SIGUSR1)
    try:
        await asyncio.sleep(15)
    finally:
        bed.proxy.send_signal(signal.SIGUSR2)
    return {}


async def drop_slot(bed: Bed, pick: int) -> dict:
    """The replication slot is gone, and with it what it had not confirmed; the outbox still has those rows."""
    await asyncio.to_thread(_drop_slot, bed.database_url)
    await _streaming(bed)
    return {}


def kill_part(name: str) -> Callable[[Bed, int], Awaitable[dict]]:
    async def fault(bed: Bed, pick: int) -> dict:
        bed.down.add(name)
        await asyncio.to_thread(bed.stack.kill, name)
        await asyncio.sleep(1)
        await _back(bed, name)
        return {}

    return fault


async def delete_topics(bed: Bed, pick: int) -> dict:
    """Every topic of Medialane's deleted under load. The cure is an operator's, as the runbook has it."""
    admin = AdminClient({"bootstrap.servers": bed.direct_brokers})
    names = [
        name for name in (await asyncio.to_thread(admin.list_topics, timeout=30)).topics if name.startswith("media.")
    ]
    for future in admin.delete_topics(names).values():
        await asyncio.to_thread(future.result, 60)
    await asyncio.sleep(3)
    await medialane(bed.stack.env, "connector", "stop")
    await _topics_anew(bed)
    await medialane(bed.stack.env, "connector", "resend")
    await _streaming(bed)
    return {"topics": len(names)}


async def broker_from_nothing(bed: Bed, pick: int) -> dict:
    """The broker loses its disk: every topic, offset and connector is gone."""
    bed.down.update({"kafka", "connect"})
    await asyncio.to_thread(bed.stack.kill, "kafka")
    await asyncio.to_thread(bed.stack.kill, "connect")
    shutil.rmtree(layout(bed.stack.folder).data("kafka"))
    await _back(bed, "kafka")
    await _topics_anew(bed)
    await _back(bed, "connect")
    # With its offsets gone the connector reads the outbox from the start, whatever its slot says.
    await medialane(bed.stack.env, "connector", "register")
    return {}


FAULTS: dict[str, Callable[[Bed, int], Awaitable[dict]]] = {
    "kill worker": kill_worker,
    "stop worker 20 s": stop_worker(20),
    "stop worker 60 s": stop_worker(60),
    "nothing for 120 s": nothing,
    "terminate worker": terminate_worker,
    "kill connect in a transaction": kill_connect,
    "kill broker": broker("kafka", away_s=2),
    "restart broker": broker("kafka", orderly=True, away_s=2),
    # Long enough for the other two to notice, and to go on without it.
    **{f"kill broker {number} of 3": broker(name, away_s=20) for number, name in enumerate(BROKERS, start=1)},
    "kill postgres": postgres(orderly=False),
    "restart postgres": postgres(orderly=True),
    "store down 25 s": store_down,
    "network cut 15 s": network_cut,
    "drop slot": drop_slot,
    "kill keeper": kill_part("keeper"),
    "kill webhooks": kill_part("webhooks"),
    "delete topics": delete_topics,
    "broker from nothing": broker_from_nothing,
}


async def _back(bed: Bed, name: str) -> None:
    await bed.start(name)
    bed.down.discard(name)


async def _busy(bed: Bed, pick: int) -> tuple[str, dict[str, int]]:
    """The picked worker, or the next one that holds jobs right now, and those jobs."""
    names = [WORKERS[(pick + step) % len(WORKERS)] for step in range(len(WORKERS))]
    async with asyncio.timeout(_HOLD_BOUND_S):
        while True:
            for name in names:
                if held := await held_by(bed, bed.stack.pid(name)):
                    return name, held
            await asyncio.sleep(0.05)


async def _frozen_at_work(bed: Bed, pick: int) -> tuple[str, dict[str, int]]:
    """A worker that is stopped while it holds jobs, and those: none of them ends before it is killed."""
    async with asyncio.timeout(_HOLD_BOUND_S):
        while True:
            name, _ = await _busy(bed, pick)
            await asyncio.to_thread(bed.stack.kill, name, signal.SIGSTOP)
            if held := await held_by(bed, bed.stack.pid(name)):
                return name, held
            await asyncio.to_thread(bed.stack.kill, name, signal.SIGCONT)


async def _streaming(bed: Bed) -> None:
    async with asyncio.timeout(180):
        while not await bed.rows(_ACTIVE, SLOT):  # noqa: ASYNC110 - it happens in other processes
            await asyncio.sleep(0.5)


async def _topics_anew(bed: Bed) -> None:
    async with asyncio.timeout(120):
        while True:
            try:
                await medialane(bed.stack.env, "topics", "apply")
            except Exception as error:  # noqa: BLE001 - a deletion takes its time
                print(f"    topics not made yet: {error}"[:200], flush=True)
                await asyncio.sleep(1)
            else:
                return


def _drop_slot(url: str) -> None:
    deadline = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            # The connector reconnects at once: end it and drop the slot in one go.
            with contextlib.suppress(psycopg.errors.ObjectInUse):
                connection.execute(
                    "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
                    " WHERE slot_name = %s AND active_pid IS NOT NULL", (SLOT,)
                )  # fmt: skip
                connection.execute("SELECT pg_drop_replication_slot(%s)", (SLOT,))
                return
            if time.monotonic() > deadline:
                raise AssertionError("the slot could not be dropped")


def _stop_in_a_transaction(bed: Bed, tries: int = 600) -> str | None:
    """Freeze Connect again and again until a transaction of its is open; the partition's name, None if never."""
    admin = AdminClient({"bootstrap.servers": bed.direct_brokers})
    topics = admin.list_topics(timeout=20).topics
    wanted = {
        TopicPartition(topic, number): OffsetSpec.latest()
        for topic in ("media.events", "media.jobs.image")
        for number in topics[topic].partitions
    }
    for _ in range(tries):
        bed.stack.kill("connect", signal.SIGSTOP)
        # The end for who reads committed records only, and the end: between them a transaction is open.
        stable, last = (_ends(admin, wanted, level) for level in (READ_COMMITTED, READ_UNCOMMITTED))
        for place, end in stable.items():
            if end < last[place]:
                return "/".join(map(str, place))
        bed.stack.kill("connect", signal.SIGCONT)
        time.sleep(0.02)
    return None


def _ends(admin: AdminClient, wanted: dict, level: IsolationLevel) -> dict[tuple[str, int], int]:
    futures = admin.list_offsets(wanted, isolation_level=level, request_timeout=10)
    return {(place.topic, place.partition): future.result(15).offset for place, future in futures.items()}
