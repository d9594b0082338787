"""A consumer that stands beside the pipeline and notes every record with the moment at which it could be read.

The demo and the tests check Kafka through it, the bench measures by it. It belongs to no group that anybody commits to.
"""

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Self, cast

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from connectors.kafka.options import client_options
from schemas.settings import KafkaSettings


class Seen(NamedTuple):
    """One record: where it stood, its bytes, its headers in order, and when it was read (Unix seconds)."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    arrived: float

    def header(self, name: str) -> str:
        """The first header of a name as text, or nothing."""
        return next((value.decode() for key, value in self.headers if key == name), "")


class Witness:
    """Reads what comes to topics after `__enter__` has returned, in a thread of its own, until the end of `with`.

    `records` grows in order of arrival.
    """

    def __init__(self, settings: KafkaSettings, topics: Sequence[str]) -> None:
        self._topics = tuple(topics)
        self._options = client_options(settings) | {
            "group.id": "medialane-witness",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 50,
        }
        self._stop = threading.Event()
        self._arrival = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="witness", daemon=True)
        self._consumer: Consumer | None = None
        self.records: list[Seen] = []

    def __enter__(self) -> Self:
        self._consumer = Consumer(self._options)
        self._consumer.assign(self._assignment(self._consumer))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._consumer is not None:
            self._consumer.close()

    def wait_for(self, satisfied: Callable[[Sequence[Seen]], bool], timeout_s: float) -> bool:
        """Block until the records satisfy the condition; False if they did not in time."""
        with self._arrival:
            return self._arrival.wait_for(lambda: satisfied(self.records), timeout_s)

    def find(self, header: str, value: str) -> list[Seen]:
        """The records with a header of this value."""
        return [record for record in list(self.records) if record.header(header) == value]

    def _assignment(self, consumer: Consumer) -> list[TopicPartition]:
        known = consumer.list_topics(timeout=10).topics
        absent = [topic for topic in self._topics if topic not in known or known[topic].error is not None]
        if absent:
            raise LookupError(f"there is no topic {', '.join(absent)}")
        places = [TopicPartition(topic, part) for topic in self._topics for part in known[topic].partitions]
        for place in places:
            # The end is fixed now, not at the thread's first fetch: what is written from here on must be seen.
            _, place.offset = consumer.get_watermark_offsets(place, timeout=10)
        return places

    def _read(self) -> None:
        if self._consumer is None:
            return
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            arrived = time.time()
            if message is None:
                continue
            trouble = message.error()
            if trouble is not None:
                if trouble.fatal():
                    raise KafkaException(trouble)
                continue
            with self._arrival:
                self.records.append(_seen(message, arrived))
                self._arrival.notify_all()


def _seen(message: Message, arrived: float) -> Seen:
    # The library's types allow for messages that were never read; a polled one has all of these.
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    return Seen(
        topic=cast("str", message.topic()),
        partition=cast("int", message.partition()),
        offset=cast("int", message.offset()),
        key=message.key(),
        value=message.value() or b"",
        headers=tuple((name, value or b"") for name, value in headers),
        arrived=arrived,
    )
