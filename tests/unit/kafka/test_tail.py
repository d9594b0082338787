"""A topic that grows while its end is followed."""

import asyncio
from types import SimpleNamespace
from typing import ClassVar

import pytest
from confluent_kafka import Consumer, KafkaException

from connectors.kafka import tail
from connectors.kafka.options import client_options
from schemas.settings import KafkaSettings


class Busy:
    """A consumer of a topic without a moment of silence, which has another partition at every second count."""

    counts = 0
    group = None
    assigned: ClassVar[list[int]] = []
    followed: ClassVar[list[bool]] = []

    def __init__(self, options):
        Busy.group = options["group.id"]
        Busy.followed.append(Busy.tail.follows)

    def list_topics(self, name, _timeout):
        Busy.counts += 1
        partitions = dict.fromkeys(range(1 + Busy.counts // 2))
        return SimpleNamespace(topics={name: SimpleNamespace(error=None, partitions=partitions)})

    def get_watermark_offsets(self, _place, _timeout):
        return 0, 5

    def assign(self, places):
        Busy.assigned.append(len(places))

    def poll(self, _timeout):
        return SimpleNamespace(error=lambda: None, key=lambda: b"asset", value=lambda: b"event")

    def close(self):
        pass


async def test_partitions_that_are_added_are_followed_though_the_topic_is_busy(monkeypatch):
    monkeypatch.setattr(tail, "Consumer", Busy)
    monkeypatch.setattr(tail, "_NEW_PARTITIONS_S", 0.01)
    settings = KafkaSettings(brokers="127.0.0.1:1", topic_prefix="mine")
    Busy.tail = followed = tail.TopicTail(settings, "topic", lambda _key, _value: None)
    followed.begin()
    async with asyncio.timeout(60):
        while len(Busy.assigned) < 3:  # noqa: ASYNC110 - a thread's doing tells nobody
            await asyncio.sleep(0.01)
    await followed.close()
    assert Busy.assigned[:3] == [1, 2, 3]
    assert not any(Busy.followed), "what is said between two assignments is not heard"
    assert Busy.group == "mine-tail", "among those of the installation, which permissions are given for"


def test_a_client_whose_broker_is_away_writes_nothing_of_its_own(capfd):
    consumer = Consumer(client_options(KafkaSettings(brokers="127.0.0.1:1")) | {"group.id": "any"})
    with pytest.raises(KafkaException):
        consumer.list_topics(timeout=0.5)
    consumer.close()
    assert capfd.readouterr() == ("", "")
