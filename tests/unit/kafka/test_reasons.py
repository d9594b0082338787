"""What is said of a broker that is away names its address and what became of the connection."""

import pytest

from connectors.kafka.admin import TopicsError
from connectors.kafka.offsets import progress
from connectors.kafka.snapshot import read_topic
from schemas.settings import KafkaSettings

NOBODY = KafkaSettings(brokers="127.0.0.1:1")


async def test_of_a_groups_progress(monkeypatch):
    monkeypatch.setattr("connectors.kafka.offsets._TIMEOUT_S", 0.5)
    with pytest.raises(TopicsError, match=r"does not answer: 127\.0\.0\.1:1.* refused"):
        await progress(NOBODY, "any", "any")


def test_of_a_topic_that_is_read(monkeypatch):
    monkeypatch.setattr("connectors.kafka.snapshot._TIMEOUT_S", 0.5)
    with pytest.raises(TopicsError, match=r"any cannot be read: 127\.0\.0\.1:1.* refused"):
        list(read_topic(NOBODY, "any"))
