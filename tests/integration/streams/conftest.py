"""A real broker, topics of a test's own, and workers in this process whose claims the test holds the strings of."""

import secrets

import pytest
from confluent_kafka.admin import AdminClient
from support import stack as shared
from support.streams import Bench

from connectors.kafka.options import client_options
from schemas.settings import KafkaSettings


@pytest.fixture(scope="session")
def brokers(controller):
    """Where the run's broker listens; nothing else of the stack is needed."""
    stack = shared.acquire(shared.folder_for(controller), controller, ("kafka",))
    return stack.env["MEDIALANE_KAFKA_BROKERS"]


@pytest.fixture
async def bench(brokers, tmp_path):
    """Topics, transactional producers and workers, all gone afterwards."""
    settings = KafkaSettings(brokers=brokers, topic_prefix=f"s{secrets.token_hex(4)}")
    async with Bench(settings, AdminClient(client_options(settings)), tmp_path) as made:
        yield made
