"""Topics on a real broker: made and grown to the table, never shrunk, by two at once if need be."""

import asyncio
import secrets

import msgspec
import pytest

from connectors.kafka.admin import TopicAdmin, TopicsError
from schemas.settings import KafkaSettings
from schemas.topics import EVENTS, TOPICS

pytestmark = pytest.mark.stack
ONE = msgspec.structs.replace(EVENTS, route="one", partitions=2, retention_ms=60_000)


@pytest.fixture
def settings(stack):
    return KafkaSettings(brokers=stack.env["MEDIALANE_KAFKA_BROKERS"], topic_prefix=f"t{secrets.token_hex(4)}")


def admin(settings, **changes):
    return TopicAdmin(settings, topics=[msgspec.structs.replace(ONE, **changes)])


async def test_a_missing_topic_is_planned_then_made_by_two_at_once_then_left_alone(settings):
    name = ONE.name(settings.topic_prefix)
    (change,) = await admin(settings).plan()
    assert str(change).startswith(
        f"create {name} with 2 partitions, 1 copies, retention.ms=60000, min.insync.replicas=1"
    )
    assert await admin(settings).partition_counts() == {}, "a plan makes nothing"
    assert await asyncio.gather(admin(settings).apply(), admin(settings).apply()) == [{"one": 2}, {"one": 2}]
    (settled,) = await admin(settings).plan()
    assert not settled.needed
    assert str(settled) == f"{name} is as it should be"


async def test_a_topic_grows_changes_its_retention_and_never_shrinks(settings):
    await admin(settings).apply()
    (change,) = await admin(settings, partitions=5, retention_ms=120_000).plan()
    assert "from 2 to 5 partitions" in str(change)
    assert "set retention.ms of" in str(change)
    assert "from 60000 to 120000" in str(change)
    assert await admin(settings, partitions=5, retention_ms=120_000).apply() == {"one": 5}
    assert not (await admin(settings, partitions=5, retention_ms=120_000).plan())[0].needed
    (smaller,) = await admin(settings, partitions=1, retention_ms=120_000).plan()
    assert not smaller.needed
    assert "topics never shrink" in str(smaller)
    assert await admin(settings, partitions=1, retention_ms=120_000).apply() == {"one": 5}


async def test_settings_are_brought_to_the_tables_and_copies_left_alone(settings):
    await admin(settings).apply()
    wanted = {"unclean_leader_election": True, "cleanup": "compact,delete", "replication": 3}
    (change,) = await admin(settings, **wanted).plan()
    assert change.needed
    assert change.config == {
        "unclean.leader.election.enable": ("false", "true"), "cleanup.policy": ("delete", "compact,delete"),
        "segment.ms": ("60000", "3600000"),
    }  # fmt: skip
    await admin(settings, **wanted).apply()
    (settled,) = await admin(settings, **wanted).plan()
    assert not settled.needed
    assert "at 1 copies (the table says 3" in str(settled)
    assert not (await admin(settings, **wanted | {"replication": 1}).plan())[0].notes


async def test_more_copies_in_sync_than_there_are_is_not_asked_for(settings):
    """With acks=all nothing could be written any more; a file that asks for more copies comes before them."""
    await admin(settings).apply()
    wanted = {"replication": 3, "min_insync_replicas": 2, "retention_ms": 120_000}
    (change,) = await admin(settings, **wanted).plan()
    assert change.config == {"retention.ms": ("60000", "120000"), "segment.ms": ("60000", "120000")}
    assert "min.insync.replicas: 2 would let nothing be written to 1 copies; make them 3, then apply" in str(change)
    await admin(settings, **wanted).apply()
    (settled,) = await admin(settings, **wanted).plan()
    assert not settled.needed
    assert settled.notes
    # It is 1 still: the table that says so needs nothing.
    assert not (await admin(settings, **wanted | {"min_insync_replicas": 1}).plan())[0].needed
    # What the copies allow is set: another one's topic, as the earlier file had left it.
    other = {"route": "other", "min_insync_replicas": 2}
    await admin(settings, **other).apply()
    (change,) = await admin(settings, **other | {"min_insync_replicas": 1}).plan()
    assert change.config == {"min.insync.replicas": ("2", "1")}


async def test_the_whole_table_is_confirmed(kafka):
    assert await TopicAdmin(kafka).partition_counts() == {topic.route: topic.partitions for topic in TOPICS}


async def test_a_broker_that_is_not_there_is_said_so():
    with pytest.raises(TopicsError, match=r"the Kafka cluster does not answer: 127\.0\.0\.1:9.* refused"):
        await TopicAdmin(KafkaSettings(brokers="127.0.0.1:9"), timeout_s=1).plan()
