"""The file that platform teams edit: what it declares, and how it says what is wrong with it."""

from importlib import resources

import pytest

from schemas.topics import TOPICS, TopicsFileError, declared

TEXT = (resources.files("schemas") / "topics.toml").read_text(encoding="utf-8")


def changed(old, new):
    assert old in TEXT
    return TEXT.replace(old, new)


def test_the_releases_own_file_declares_every_topic():
    assert declared(TEXT) == TOPICS
    assert len({topic.route for topic in TOPICS}) == len(TOPICS)


def test_a_topic_overrides_the_defaults():
    text = changed("replication = 1 ", "replication = 3 ").replace("min_insync_replicas = 1", "min_insync_replicas = 2")
    text = text.replace("[topics.canary]\n", "[topics.canary]\nreplication = 1\nmin_insync_replicas = 1\n")
    made = {topic.route: topic for topic in declared(text)}
    assert (made["events"].replication, made["canary"].replication) == (3, 1)
    assert made["events"].config == {
        "retention.ms": "604800000", "min.insync.replicas": "2", "unclean.leader.election.enable": "false",
        "cleanup.policy": "delete", "segment.ms": "86400000",
    }  # fmt: skip


def test_what_is_compacted_is_so_within_hours():
    for topic in TOPICS:
        segment = {name: value for name, value in topic.config.items() if name.startswith("segment")}
        compacted = {"segment.ms": "3600000", "segment.bytes": "67108864"}
        assert (segment == compacted) == (topic.route == "usage"), topic.route
    all_compacted = declared(changed('cleanup = "delete"', 'cleanup = "compact"'))
    assert all(topic.config["segment.ms"] == "3600000" for topic in all_compacted)


def test_no_record_outlasts_its_retention_by_more_than_a_day():
    """Kafka deletes whole segments, and not before the last record of one is old enough."""
    assert {topic.route: topic.config["segment.ms"] for topic in TOPICS if topic.route != "usage"} == {
        "jobs.image": "86400000", "jobs.video": "86400000", "events": "86400000", "jobs.dlq": "86400000",
        "canary": "3600000",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[defaults]", "[default]", "unknown: default"),
        ("[topics.canary]", "[topics.canaries]", 'unknown: topics."canaries"'),
        ('[topics.canary]\npartitions = 1\nretention = "1h"', "", "not declared: canary"),
        ('retention = "30d"', 'retention = "a month"', r'topics."jobs.dlq": .*retention'),
        ('retention = "30d"', 'retentoin = "30d"', r'topics."jobs.dlq": .*retentoin'),
        ("partitions = 1\n", "partitions = 0\n", r'topics."jobs.dlq": .*partitions'),
        ("min_insync_replicas = 1 ", "min_insync_replicas = 2 ", "2 in-sync replicas of 1 would take no record"),
        ("[topics.events]\npartitions = 8", "[topics.events]\npartitions = 9", "usage needs as many partitions as events"),
        ('cleanup = "delete"', 'cleanup = "shred"', "cleanup"),
        ("[defaults]", "[defaults", "this is no TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(old, new, said):
    with pytest.raises(TopicsFileError, match=said):
        declared(changed(old, new))
