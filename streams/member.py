"""A Faust app's life as a member of its consumer group: wait for a broker, join, notice its death, commit, leave."""

import asyncio
from collections.abc import Sequence
from typing import Any

import faust
import structlog

from connectors.kafka.bootstrap import until_reachable
from schemas.settings import KafkaSettings
from streams.consumer_thread import fetching, loop_of
from streams.core.ledger import Partition
from streams.transport import coordinated, fetched

log = structlog.get_logger(__name__)

_LEAVE_BOUND_S, _LEAST_LEAVE_S = 10.0, 1.0


class MemberLostError(Exception):
    """The Faust app stopped by itself; the process must end, for its supervisor to start it again."""


class Member:
    """Runs an app and answers for its membership."""

    def __init__(self, app: faust.App, kafka: KafkaSettings) -> None:
        self._app = app
        self._kafka = kafka
        self._reached = self._started = self._leaving = False

    async def reach(self) -> None:
        """Wait until a broker answers; without one Faust's app fails to start, and it cannot be started twice."""
        if not self._reached:
            await until_reachable(self._kafka)
            self._reached = True

    async def run(self) -> None:
        """Join and stay until `leave`. Raises `MemberLostError` if the app stops by itself, or its place is taken."""
        await self.reach()
        if self._leaving:
            await asyncio.Event().wait()
        self._started = True
        await self._app.start()
        stopped = asyncio.create_task(self._app.wait_until_stopped())
        fenced = asyncio.create_task(self.flow.fenced.wait())
        try:
            await asyncio.wait({stopped, fenced}, return_when=asyncio.FIRST_COMPLETED)
            taken = fenced.done()
        finally:
            stopped.cancel()
            fenced.cancel()
        if self._leaving:
            await asyncio.Event().wait()  # the end is the caller's to say
        if taken:
            raise MemberLostError(
                f"another process has joined the consumer group as {self._app.conf.consumer_group_instance_id!r}: "
                "MEDIALANE_WORKER_INSTANCE_ID must be a name that no other process of the group has"
            )
        reason = getattr(self._app, "crash_reason", None)
        raise MemberLostError(f"the consumer stopped: {reason!r}") from reason

    async def leave(self, timeout_s: float = _LEAVE_BOUND_S) -> None:
        """Commit what is due, and leave the group at once, so that others take over now and not after a timeout.

        Takes 10 s at most, or `timeout_s` if that is less, but for a second.
        """
        self._leaving = True
        if not self._started:
            return
        try:
            async with asyncio.timeout(max(min(timeout_s, _LEAVE_BOUND_S), _LEAST_LEAVE_S)):
                if self._joined_once:
                    await self._app.consumer.commit()
                await self._app.stop()
        except TimeoutError:
            log.warning("leaving the group took too long; its other members wait for the session timeout")
        except Exception:
            log.exception("leaving the group failed; its other members wait for the session timeout")

    @property
    def flow(self) -> Any:
        """The consumer, which lanes tell to stop fetching and to go on."""
        return self._app.consumer

    @property
    def awaits_broker(self) -> bool:
        """Whether this process is up and no broker has answered it yet."""
        return not self._reached

    @property
    def joined(self) -> bool:
        """Whether the group has given this member an assignment, which may be empty, and is not rebalancing now."""
        return self._joined_once and not self._app.rebalancing

    @property
    def fetching(self) -> bool:
        """Whether the consumer still asks brokers for records; True before the first assignment and while it leaves."""
        return self._leaving or not self._joined_once or fetching(self._app.consumer)

    def consumer_loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the consumer's thread; None before the first assignment."""
        return loop_of(self._app.consumer) if self._joined_once else None

    @property
    def _joined_once(self) -> bool:
        return self._app.consumer_generation_id > 0

    def problems(self) -> Sequence[str]:
        """Why this member is not ready."""
        if self.awaits_broker:
            return ["no Kafka broker has answered yet"]
        if not self.joined:
            return ["the consumer group has not given this process its partitions"]
        return [] if coordinated(self._app.consumer) else ["the broker that coordinates the group does not answer"]

    def highwater(self, partition: Partition) -> int | None:
        """The offset after the partition's last record, as of the last fetch; None before that."""
        return fetched(self._app.consumer, partition).end if self._joined_once else None

    def position(self, partition: Partition) -> int | None:
        """The offset that is fetched next; None before the first fetch."""
        return fetched(self._app.consumer, partition).position if self._joined_once else None

    def behind(self, partition: Partition) -> bool:
        """Whether the partition has records that were not read yet, as far as is known."""
        end, position = self.highwater(partition), self.position(partition)
        return end is not None and position is not None and position < end
