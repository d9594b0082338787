"""How far a consumer group is: what is in each partition that it has not committed."""

import asyncio
from typing import NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # forgotten by its stubs

from connectors.kafka.admin import TopicsError
from connectors.kafka.options import client_options
from connectors.kafka.reasons import Reasons
from schemas.settings import KafkaSettings

_TIMEOUT_S = 15.0


class Progress(NamedTuple):
    """A partition's beginning and end, and where its group is (None: nothing committed yet)."""

    beginning: int
    end: int
    committed: int | None

    @property
    def open_records(self) -> int:
        """Offsets between the group and the end; transaction markers take some of them."""
        return max(0, self.end - max(self.beginning, self.committed or 0))


async def progress(settings: KafkaSettings, group: str, topic: str) -> dict[int, Progress]:
    """The group's progress by partition; empty for a topic that does not exist. Raises `TopicsError`."""
    reasons = Reasons()
    admin = AdminClient(client_options(settings) | reasons.options)
    try:
        return await asyncio.to_thread(_progress, admin, group, topic)
    except KafkaException as error:
        raise TopicsError(f"the Kafka cluster does not answer: {reasons.why(admin, error)}") from error


def _progress(admin: AdminClient, group: str, topic: str) -> dict[int, Progress]:
    found = admin.list_topics(topic, timeout=_TIMEOUT_S).topics.get(topic)
    if found is None or found.error is not None:
        return {}
    places = [TopicPartition(topic, number) for number in found.partitions]
    first, last = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
    firsts = admin.list_offsets(dict.fromkeys(places, first), request_timeout=_TIMEOUT_S)
    lasts = admin.list_offsets(dict.fromkeys(places, last), request_timeout=_TIMEOUT_S)
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)], request_timeout=_TIMEOUT_S)
    committed = {place.partition: place.offset for place in asked[group].result().topic_partitions}
    return {
        place.partition: Progress(
            firsts[place].result().offset, lasts[place].result().offset,
            committed[place.partition] if committed.get(place.partition, -1) >= 0 else None,
        )
        for place in places
    }  # fmt: skip
