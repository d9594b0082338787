"""The end of a topic, followed by one process on its own: no group, no offsets, every partition, from now on.

For what may be missed: whoever listens has another place to look at what was said before, or in between.
"""

import asyncio
import threading
import time
from collections.abc import Callable

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from connectors.kafka.options import client_options
from schemas.settings import KafkaSettings

_log = structlog.get_logger(__name__)

_POLL_S = 0.2
_METADATA_S = 10.0
_AGAIN_S = 2.0
_NEW_PARTITIONS_S = 30.0

Heard = Callable[[str, bytes], None]
"""Called in the event loop with a record's key and value."""


class TopicTail:
    """Follows one topic in a thread of its own."""

    def __init__(self, settings: KafkaSettings, topic: str, heard: Heard) -> None:
        self._options = {
            **client_options(settings),
            "client.id": "medialane-tail",
            # The library wants one, and brokers a permission for it; nothing is ever committed under it.
            "group.id": f"{settings.topic_prefix}-tail",
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "fetch.wait.max.ms": 100,
        }
        self._topic = topic
        self._heard = heard
        self._following = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def follows(self) -> bool:
        """Whether every record from now on will be heard."""
        return self._following.is_set()

    def begin(self) -> None:
        """Begin to follow, if that was not done yet; in the event loop that is to hear."""
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, args=(loop,), name="kafka-tail", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _METADATA_S)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            try:
                self._consume(loop)
            except KafkaException as error:
                _log.warning("the end of the topic is not followed", topic=self._topic, error=str(error))
                self._stop.wait(_AGAIN_S)
            except RuntimeError:
                return  # the loop is closed: the process ends

    def _consume(self, loop: asyncio.AbstractEventLoop) -> None:
        consumer = Consumer(self._options)
        try:
            known, counted_at = self._assign(consumer), time.monotonic()
            self._following.set()
            while not self._stop.is_set():
                message = consumer.poll(_POLL_S)
                if message is not None:
                    self._tell(loop, message)
                # By the clock: on a busy topic no poll comes back empty.
                if time.monotonic() - counted_at > _NEW_PARTITIONS_S:
                    counted_at = time.monotonic()
                    if self._count(consumer) != known:
                        return  # assigned anew by the next round
        finally:
            self._following.clear()  # the next round begins at the ends of then: what lies between is not heard
            consumer.close()

    def _tell(self, loop: asyncio.AbstractEventLoop, message: Message) -> None:
        error, key, value = message.error(), message.key(), message.value()
        if error is not None:
            raise KafkaException(error)
        if isinstance(key, bytes) and isinstance(value, bytes):
            loop.call_soon_threadsafe(self._heard, key.decode(errors="replace"), value)

    def _assign(self, consumer: Consumer) -> int:
        """Every partition, at the end that it has at this moment."""
        count = self._count(consumer)
        ends = [
            TopicPartition(
                self._topic, number, consumer.get_watermark_offsets(TopicPartition(self._topic, number), _METADATA_S)[1]
            )
            for number in range(count)
        ]
        consumer.assign(ends)
        return count

    def _count(self, consumer: Consumer) -> int:
        found = consumer.list_topics(self._topic, _METADATA_S).topics[self._topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return len(found.partitions)
