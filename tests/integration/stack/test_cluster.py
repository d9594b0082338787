"""Three brokers: they come up as one cluster, every topic has its copies, and one of them may be killed."""

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from support.stack import release, runs_own

from cli.stack import Stack
from cli.stack.names import BROKERS
from connectors.kafka.options import client_options
from schemas.settings import KafkaSettings, load
from schemas.topics import EVENTS, TOPICS

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(300)]
NAMES = [topic.name("media") for topic in TOPICS]


@pytest.fixture
def cluster(controller):
    folder = runs_own(controller, "cluster")
    with Stack.start(folder, parts=("postgres", "kafka"), brokers=3, owner=controller) as stack:
        yield stack
    release(folder)


def test_a_killed_broker_loses_nothing_and_stops_nobody(cluster):
    settings = load(KafkaSettings, cluster.env)
    admin = AdminClient(client_options(settings))
    described = admin.describe_topics(TopicCollection(NAMES))
    partitions = {name: described[name].result(30).partitions for name in NAMES}
    for name, found in partitions.items():
        assert [len(one.replicas) for one in found] == [3] * len(found), name
    configs = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in NAMES])
    assert {future.result(30)["min.insync.replicas"].value for future in configs.values()} == {"2"}

    events = EVENTS.name("media")
    send(settings, events, b"before")
    leader = partitions[events][0].leader.id
    cluster.kill(BROKERS[leader - 1])
    # To the partition that it led: another one leads it now, and has what was confirmed.
    send(settings, events, b"after")
    assert values(settings, events) == [b"before", b"after"]


def send(settings, topic, value):
    producer, told = Producer(client_options(settings) | {"acks": "all"}), []
    producer.produce(topic, value, partition=0, on_delivery=lambda error, _: told.append(error))
    assert producer.flush(120) == 0
    assert told == [None]


def values(settings, topic):
    """What there is in its first partition."""
    consumer = Consumer(client_options(settings) | {"group.id": "cluster", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    found = []
    try:
        while (message := consumer.poll(60)) is not None and message.error() is None:
            found.append(message.value())
    finally:
        consumer.close()
    return found
