"""A topic as it is now, read from its beginning to the end that it has at this moment; no group, nothing committed."""

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors.kafka.admin import TopicsError
from connectors.kafka.options import client_options
from schemas.settings import KafkaSettings

_TIMEOUT_S = 15.0
_AT_ONCE, _LOOK_S = 1000, 0.1  # records are waited for until there are so many, or for so long


Records = Iterator[tuple[bytes | None, bytes | None]]


def read_topic(settings: KafkaSettings, topic: str) -> Records:
    """(key, value) of every record, in the order of each partition, as they come: a topic may be larger than memory.

    Raises `TopicsError`, from its first record to its last.
    """
    consumer = Consumer(
        client_options(settings)
        | {
            # The library wants one, and brokers a permission for it; who reads at the same time does not matter.
            "group.id": f"{settings.topic_prefix}-snapshot",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    try:
        yield from _read(consumer, topic)
    except KafkaException as error:
        raise TopicsError(f"{topic} cannot be read: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _read(consumer: Consumer, topic: str) -> Records:
    found = consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
    if found.error is not None:
        raise TopicsError(f"there is no topic {topic}: run `medialane topics apply`")
    ends: dict[int, int] = {}
    for number in found.partitions:
        first, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_TIMEOUT_S)
        if end > first:
            ends[number] = end
    places = [TopicPartition(topic, number, 0) for number in ends]
    consumer.assign([TopicPartition(place.topic, place.partition, -2) for place in places])  # from the beginning
    reached: dict[int, int] = {}
    gives_up_at = 0.0
    while True:
        # Positions, not records: behind the last one a transaction's marker may stand, and aborted ones are not shown.
        now = {place.partition: place.offset for place in consumer.position(places)}
        if all(now[number] >= end for number, end in ends.items()):
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
