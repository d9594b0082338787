"""A cluster that tells its topics, and then answers nothing more."""

from collections import defaultdict
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from connectors.kafka import admin
from connectors.kafka.admin import TopicAdmin, TopicsError
from schemas.settings import KafkaSettings
from schemas.topics import EVENTS


class Silent:
    """Every request but the first kind is on its way for ever."""

    def __init__(self, _options):
        self.present = {}

    def list_topics(self, timeout):
        return SimpleNamespace(topics=self.present)

    def _request(self, *_arguments, **_options):
        return defaultdict(Future)

    describe_topics = describe_configs = _request

    def create_topics(self, topics):
        return {topic.topic: Future() for topic in topics}


@pytest.fixture
def silent(monkeypatch):
    monkeypatch.setattr(admin, "AdminClient", Silent)
    return TopicAdmin(KafkaSettings(brokers="127.0.0.1:1"), topics=[EVENTS], timeout_s=0.01)


async def test_a_cluster_that_answers_no_more_is_one_typed_error(silent):
    with pytest.raises(TopicsError, match="did not answer"):
        await silent.topic_id(EVENTS)
    with pytest.raises(TopicsError, match=r"media\.events: the Kafka cluster did not answer"):
        await silent.apply()
    partition = SimpleNamespace(replicas=[1])
    silent._admin.present["media.events"] = SimpleNamespace(error=None, partitions={0: partition})
    with pytest.raises(TopicsError, match="did not answer"):
        await silent.plan()
