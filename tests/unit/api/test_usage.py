"""Usage while Kafka is away: one read tells all who ask."""

import asyncio
import uuid

import pytest

from api.usage import service
from api.usage.service import UsageReader
from connectors.kafka.admin import TopicsError
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import KafkaSettings


async def test_a_failed_read_answers_those_who_waited_and_those_who_come_soon(monkeypatch):
    reads, away = [], True

    def read_topic(_kafka, topic):
        reads.append(topic)
        if away:
            raise TopicsError("the broker does not answer")
        return []

    monkeypatch.setattr(service, "read_topic", read_topic)
    reader = UsageReader(KafkaSettings(brokers="127.0.0.1:1"))

    async def ask():
        with pytest.raises(MedialaneError) as caught:
            await reader.read(uuid.uuid4(), 7)
        return caught.value.code

    answers = await asyncio.gather(*(ask() for _ in range(20)))
    assert (answers, len(reads)) == ([ErrorCode.BROKER_UNAVAILABLE] * 20, 1)
    assert (await ask(), len(reads)) == (ErrorCode.BROKER_UNAVAILABLE, 1)

    away = False
    monkeypatch.setattr(service, "_BELIEVED_S", -1)
    assert (await reader.read(uuid.uuid4(), 7)).days == ()
    assert len(reads) == 2
