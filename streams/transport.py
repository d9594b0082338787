"""Faust's Kafka consumer with our commits: the one place that touches Faust's private names, tested at import.

It commits what `Books` says and nothing else, reads committed records only, keeps assignments sticky, and wakes up when
a full partition has room again. Pinned to the releases in pyproject.toml; docs/decisions says what Faust does instead.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import aiokafka
import faust
import structlog
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver
from mode.utils import queues

from streams.core.ledger import Partition
from streams.core.ports import Books
from streams.fencing import guard

log = structlog.get_logger(__name__)

_COMMIT_BOUND_S = 7.0
_FULL_POLL_S = 0.05
_UNREAD_PAUSE_S = 0.001
_PRIVATE = {
    driver.Consumer: (
        "_new_consumer_thread", "_filter_committable_offsets", "_filter_tps_with_pending_acks", "_commit",
        "_wait_next_records", "_get_active_partitions", "force_commit", "on_buffer_full", "on_buffer_drop",
        "verify_event_path", "on_partitions_assigned", "on_partitions_revoked", "stop_flow",
    ),
    driver.AIOKafkaConsumerThread: (
        "_create_worker_consumer", "_fetch_records", "_commit", "_ensure_consumer", "on_start",
    ),
    GroupCoordinator: ("_do_rejoin_group", "_send_req"),
    queues.FlowControlEvent: ("_queues",),
    faust.App: ("on_rebalance_complete",),
    driver: ("credentials_to_aiokafka_auth", "server_list"),
    faust_consumer.Consumer: ("_drain_messages", "_commit_handler", "_buffered_partitions", "consumer_stopped_errors"),
}  # fmt: skip


class UnsupportedFaustError(Exception):
    """The installed Faust is not one that this module knows."""


def check_names(table: Mapping[Any, Iterable[str]] = _PRIVATE) -> None:
    """Raise `UnsupportedFaustError` if Faust has lost a name that is replaced or called here."""
    lost = [
        f"{owner.__name__}.{name}"
        for owner, names in table.items()
        for name in names
        if not hasattr(owner, name) and name not in getattr(owner, "__annotations__", {})
    ]
    if lost:
        raise UnsupportedFaustError(
            f"faust-streaming {faust.__version__} has no {', '.join(lost)}; install the release named in pyproject.toml"
        )


check_names()


class _Thread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        # The assignor keeps its memory on the class, so every consumer gets a class of its own.
        sticky = type("Sticky", (StickyPartitionAssignor,), {})
        assignor: Any = self.app.assignor if self.app.tables.changelog_topics else sticky
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[assignor],
            enable_auto_commit=False,
            auto_offset_reset=conf.consumer_auto_offset_reset,
            isolation_level="read_committed",
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    async def on_start(self) -> None:
        """Start the consumer, which may lose its name in the group to another process."""
        await super().on_start()
        name, consumer = self.app.conf.consumer_group_instance_id, cast("Consumer", self.consumer)
        if name is not None:
            coordinator: Any = self._ensure_consumer()._coordinator  # noqa: SLF001
            # This is the consumer's own thread.
            guard(coordinator, name, lambda: consumer.loop.call_soon_threadsafe(consumer.fenced.set))

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[Any],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> Any:
        del max_records  # fixed at start; the books' may change
        # A copy: the live set may become empty while this waits, which would mean "all partitions". And while a
        # partition is full, come back soon: it is only asked for in the next call.
        wanted = set(active_partitions)
        bound = _FULL_POLL_S if self.consumer._buffered_partitions else timeout  # noqa: SLF001
        fetched = await super()._fetch_records(consumer, wanted, bound, self._poll) if wanted else {}
        return self._without_unwelcome(consumer, fetched, active_partitions)

    def _without_unwelcome(self, consumer: Any, records: Any, active: set[Any]) -> Any:
        """What Faust would drop goes back: its partition was paused, or all were, while the fetch waited for it.

        Faust seeks to the committed offset then, which a fresh group does not have, nor a table's changelog ever.
        """
        taken = active | self.consumer._buffered_partitions if self.consumer.flow_active else set()  # noqa: SLF001
        for tp in records.keys() - taken:
            first = records.pop(tp)[0].offset
            with contextlib.suppress(IllegalStateError):  # not ours any more: who has it reads it
                consumer.seek(tp, first)
        return records

    @property
    def _poll(self) -> int:
        return cast("Transport", self.transport).books.poll

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        assigned = self.assignment()
        wanted = {driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items() if tp in assigned}
        try:
            await self._ensure_consumer().commit(wanted)
        except (KafkaError, IllegalStateError) as error:
            # Not a reason to stop: the positions stay due, and the next interval commits them or newer ones.
            log.warning("commit failed, to be tried again", error=str(error))
            return False
        return len(wanted) == len(offsets)


class Consumer(driver.Consumer):
    """The consumer whose commits are the books' positions."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._books = cast("Transport", self.transport).books
        self._committed: dict[Partition, int] = {}  # under this assignment
        self._room = asyncio.Event()
        self.fenced = asyncio.Event()
        self._committing: asyncio.Task[bool] | None = None
        self.app.on_rebalance_complete.connect(self._hold_flow)

    async def _hold_flow(self, _app: Any, /, *_: Any, **_options: Any) -> None:
        """Fetch nothing from here until Faust resumes the flow.

        Faust seeks to the committed offsets in between, and then empties the queues of streams. After the recovery of a
        table the flow is on: what is fetched behind the seek would be in no queue any more, its offsets passed over.
        """
        self.stop_flow()

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[Any]:
        del topics
        return iter(())  # the books know the partitions; Faust's acks are not used

    def _filter_committable_offsets(self, tps: Any) -> dict[Any, int]:
        del tps
        due = self._books.positions().items()
        return {faust.types.TP(*tp): offset for tp, offset in due if self._committed.get(tp) != offset}

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        # One at a time: while the broker is away a commit may hang, and newer ones must not queue up behind it.
        if self._committing is None or self._committing.done():
            committing = self._committing = asyncio.create_task(self._thread.commit(offsets))
            done, _ = await asyncio.wait({committing}, timeout=_COMMIT_BOUND_S)
            if done and committing.result():  # ours: when it was done, the next may have begun
                self._committed.update((Partition(*tp), offset) for tp, offset in offsets.items())
                return True
        return False

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand on what is fetched, in order.

        Faust's own loop would drop every record of a topic that was made anew (its offsets begin at 0 again), count the
        record after a gap as acked, and start two tasks per record, in case a stream's buffer is full: ours never is.
        """
        try:
            while not (self.should_stop or fetcher.should_stop):
                async for _, message in self.getmany(timeout=1.0):
                    await self.callback(message)
                await asyncio.sleep(0)
                # What waits in a stream's queue is in no lane yet, and so is bounded by none.
                while self._unread() > self._books.poll and not fetcher.should_stop:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(_UNREAD_PAUSE_S)
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise

    def _unread(self) -> int:
        return sum(queue.qsize() for queue in self.app.flow_control._queues)  # noqa: SLF001

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Commit first, while the group still takes it from us."""
        if self._committing is not None:  # it began with older positions, and would keep ours from being committed
            await asyncio.wait({self._committing}, timeout=_COMMIT_BOUND_S)
        await self.force_commit()
        self._books.revoke(revoked)
        self._buffered_partitions.difference_update(revoked)
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[Any], generation_id: int = 0) -> None:
        """Begin new books before the first record of the assignment arrives."""
        self._committed.clear()
        self._books.assign(assigned)
        await super().on_partitions_assigned(assigned, generation_id)

    def on_buffer_full(self, tp: Any) -> None:
        """Stop fetching from the partition; what was fetched still comes."""
        super().on_buffer_full(faust.types.TP(*tp))  # of no other class, or Faust's fetcher dies of it

    def on_buffer_drop(self, tp: Any) -> None:
        """Fetch from the partition again, and at once."""
        super().on_buffer_drop(faust.types.TP(*tp))
        self._room.set()

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
        if self.flow_active and self._buffered_partitions and not self._get_active_partitions():
            # Faust would sleep a whole second here, while the lanes run dry.
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._room.wait(), timeout)
            return {}, set()
        return await super()._wait_next_records(timeout)

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Faust's own watchdog takes a full lane for a stuck one; ours is in `streams.health`."""


class Fetched(NamedTuple):
    """How far a partition was read, and its end as of the last fetch (of committed records); None if unknown."""

    position: int | None
    end: int | None


def fetched(consumer: Any, partition: Partition) -> Fetched:
    """How far an assigned partition was read. Never raises: while the group rebalances nothing is known."""
    try:
        subscription = consumer._thread._ensure_consumer()._subscription.subscription  # noqa: SLF001
        state = subscription.assignment.state_value(driver.ensure_aiokafka_TP(faust.types.TP(*partition)))
    except (AttributeError, faust.exceptions.FaustError):
        return Fetched(None, None)
    if state is None or not state.has_valid_position:
        return Fetched(None, None)
    return Fetched(state.position, state.lso if state.lso is not None else state.highwater)


def coordinated(consumer: Any) -> bool:
    """Whether the broker that coordinates the group answers, as far as is known. Never raises."""
    try:
        return consumer._thread._ensure_consumer()._coordinator.coordinator_id is not None  # noqa: SLF001
    except (AttributeError, faust.exceptions.FaustError):
        return False


class Transport(driver.Transport):
    """Give it to an app before it starts: `app.transport = Transport(app, books)`."""

    Consumer = Consumer

    def __init__(self, app: Any, books: Books) -> None:
        super().__init__(app.conf.broker, app)
        self.books = books
