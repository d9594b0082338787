"""A topic as it is now, read from its beginning to the end that it has at this moment; no group, nothing committed."""

import time
from collections.abc import Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from connectors.kafka.admin import TopicsError
from connectors.kafka.options import client_options
from connectors.kafka.reasons import Reasons
from schemas.settings import KafkaSettings

_TIMEOUT_S = 15.0
_AT_ONCE, _LOOK_S = 1000, 0.1  # records are waited for until there are so many, or for so long


Records = Iterator[tuple[bytes | None, bytes | None]]


def read_topic(settings: KafkaSettings, topic: str, places: dict[int, int] | None = None) -> Records:
    """(key, value) of every record, in the order of each partition, as they come: a topic may be larger than memory.

    `places`: how far each partition was read before; they move on once the last record came. A partition that is not
    among them, or has become shorter, is read from its beginning.

    Raises `TopicsError`, from its first record to its last.
    """
    reasons = Reasons()
    consumer = Consumer(
        client_options(settings)
        | reasons.options
        | {
            # The library wants one, and brokers a permission for it; who reads at the same time does not matter.
            "group.id": f"{settings.topic_prefix}-snapshot",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",  # should retention take away the place where it begins
        }
    )
    try:
        yield from _read(consumer, topic, {} if places is None else places)
    except KafkaException as error:
        raise TopicsError(f"{topic} cannot be read: {reasons.why(consumer, error)}") from error
    finally:
        consumer.close()


def _read(consumer: Consumer, topic: str, before: dict[int, int]) -> Records:
    found = consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
    if found.error is not None:
        raise TopicsError(f"there is no topic {topic}: run `medialane topics apply`")
    begins: dict[int, int] = {}
    ends: dict[int, int] = {}
    for number in found.partitions:
        first, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_TIMEOUT_S)
        place = before.get(number, first)
        if place != end and first < end:
            begins[number] = place if first < place < end else OFFSET_BEGINNING
            ends[number] = end
    places = [TopicPartition(topic, number, 0) for number in ends]
    consumer.assign([TopicPartition(topic, number, place) for number, place in begins.items()])
    reached: dict[int, int] = {}
    gives_up_at = 0.0
    while True:
        # Positions, not records: behind the last one a transaction's marker may stand, and aborted ones are not shown.
        now = {place.partition: place.offset for place in consumer.position(places)}
        if all(now[number] >= end for number, end in ends.items()):
            before.update(now)
            return
        if now != reached:
            reached, gives_up_at = now, time.monotonic() + _TIMEOUT_S
        elif time.monotonic() > gives_up_at:
            raise TopicsError(f"{topic} cannot be read: nothing came for {_TIMEOUT_S:g} s")
        for message in consumer.consume(_AT_ONCE, timeout=_LOOK_S):
            failed = message.error()
            if failed is not None:
                raise KafkaException(failed)
            yield message.key(), message.value()
