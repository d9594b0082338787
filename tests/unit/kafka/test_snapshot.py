"""Reading a topic ends, whatever becomes of the brokers meanwhile."""

from types import SimpleNamespace

import pytest
from confluent_kafka import TopicPartition

from connectors.kafka import snapshot
from connectors.kafka.admin import TopicsError
from schemas.settings import KafkaSettings


class Silent:
    """A consumer whose brokers told of five records and then sent none."""

    looks = 0
    group = None

    def __init__(self, options):
        Silent.group = options["group.id"]

    def list_topics(self, name, timeout):
        return SimpleNamespace(topics={name: SimpleNamespace(error=None, partitions={0: None})})

    def get_watermark_offsets(self, _place, timeout):
        return 0, 5

    def assign(self, places):
        pass

    def position(self, places):
        return [TopicPartition(place.topic, place.partition, 2) for place in places]

    def consume(self, _count, timeout):
        Silent.looks += 1
        assert Silent.looks < 1000, "it would go on for ever"
        return []

    def close(self):
        pass


def test_brokers_that_fall_silent_end_the_read(monkeypatch):
    monkeypatch.setattr(snapshot, "Consumer", Silent)
    monkeypatch.setattr(snapshot, "_TIMEOUT_S", 0)
    with pytest.raises(TopicsError, match="nothing came"):
        list(snapshot.read_topic(KafkaSettings(brokers="127.0.0.1:1"), "topic"))


class Telling(Silent):
    """A consumer that is sent one record at a time."""

    sent = 0

    def position(self, places):
        return [TopicPartition(place.topic, place.partition, Telling.sent) for place in places]

    def consume(self, _count, timeout):
        Telling.sent += 1
        number = b"%d" % Telling.sent
        return [SimpleNamespace(error=lambda: None, key=lambda: b"key", value=lambda: number)]


def test_each_record_is_handed_on_before_the_next_is_asked_for(monkeypatch):
    monkeypatch.setattr(snapshot, "Consumer", Telling)
    records = snapshot.read_topic(KafkaSettings(brokers="127.0.0.1:1"), "topic")
    assert [(value, Telling.sent) for _, value in records] == [(b"%d" % number, number) for number in range(1, 6)]


def test_its_group_is_among_those_of_the_installation(monkeypatch):
    monkeypatch.setattr(snapshot, "Consumer", Telling)
    list(snapshot.read_topic(KafkaSettings(brokers="127.0.0.1:1", topic_prefix="mine"), "topic"))
    assert Silent.group == "mine-snapshot"
