"""Topic administration: brings a cluster to the topic table. Creates and grows; never shrinks, never deletes."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs forget to re-export these
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from connectors.kafka.options import client_options
from connectors.kafka.reasons import Reasons
from schemas.settings import KafkaSettings
from schemas.topics import TOPICS, Topic


class TopicsError(Exception):
    """The cluster did not answer, or refused a change; the message names the topic."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What one topic needs. `have` is its partitions now (0: no such topic), `want` what the table says.

    `have > want` needs nothing: a topic never shrinks, because keys and placements would move. `config` holds settings
    that differ and may be set, each as it is and as it should be.
    """

    topic: Topic
    name: str
    have: int
    want: int
    replication: int | None = None  # copies of an existing topic
    config: Mapping[str, tuple[str, str]] = msgspec.field(default_factory=dict)

    @property
    def needed(self) -> bool:
        """Whether applying this would touch the cluster."""
        return self.have < self.want or bool(self.config)

    def __str__(self) -> str:
        if self.have == 0:
            return f"create {self.name} with {self.want} partitions, {self.topic.replication} copies, {self._settings}"
        steps = [f"grow {self.name} from {self.have} to {self.want} partitions"] if self.have < self.want else []
        steps += [f"set {key} of {self.name} from {was} to {wanted}" for key, (was, wanted) in self.config.items()]
        return "; ".join([*steps, *self.notes]) or f"{self.name} is as it should be"

    @property
    def notes(self) -> list[str]:
        """What differs from the table and is left as it is."""
        notes = []
        if self.have > self.want:
            notes.append(
                f"leave {self.name} at {self.have} partitions (the table says {self.want}; topics never shrink)"
            )
        if self.replication is not None and self.replication != self.topic.replication:
            notes.append(
                f"leave {self.name} at {self.replication} copies (the table says {self.topic.replication}; "
                "kafka-reassign-partitions changes them)"
            )
        if self.replication is not None and self.replication < self.topic.min_insync_replicas:
            notes.append(
                f"leave its min.insync.replicas: {self.topic.min_insync_replicas} would let nothing be written to "
                f"{self.replication} copies; make them {self.topic.replication}, then apply again"
            )
        return notes

    @property
    def _settings(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.topic.config.items())


def refuse_fewer(changes: Sequence[Change], recorded: Mapping[str, int]) -> None:
    """Raise `TopicsError` if a topic would end with fewer partitions than are recorded for its route in Postgres.

    As in a cluster that was made anew, by a file that does not know how far the topic had grown: tenants and assets are
    placed on all of them, and the connector would fail for ever at the first row for one that is not there.
    """
    fewer = [
        f"{change.name} would have {most} partitions, and {recorded[change.topic.route]} are recorded in Postgres"
        for change in changes
        if (most := max(change.have, change.want)) < recorded.get(change.topic.route, 0)
    ]
    if fewer:
        raise TopicsError(
            f"{'; '.join(fewer)}: tenants and their events are placed on all of them. Apply the file that declares "
            "as many (--file, or MEDIALANE_TOPICS_FILE)"
        )


def _to_set(topic: Topic, config: Mapping[str, str], copies: int) -> dict[str, tuple[str, str]]:
    """The settings of an existing topic that differ; not one that asks for more copies than there are."""
    return {
        key: (config.get(key, ""), value)
        for key, value in topic.config.items()
        if config.get(key) != value and not (key == "min.insync.replicas" and int(value) > copies)
    }


class TopicAdmin:
    """Plans and applies the topic table on one cluster, under one topic prefix."""

    def __init__(self, settings: KafkaSettings, *, topics: Sequence[Topic] = TOPICS, timeout_s: float = 15.0) -> None:
        self._reasons = Reasons()
        self._admin = AdminClient(client_options(settings) | self._reasons.options | {"client.id": "medialane-topics"})
        self._prefix = settings.topic_prefix
        self._topics = tuple(topics)
        self._timeout_s = timeout_s
        self._silent = f"the Kafka cluster did not answer within {timeout_s:.0f} s"

    async def plan(self) -> list[Change]:
        """What each topic of the table needs, in the table's order; changes nothing."""
        found = await self._found()
        present = [topic for topic in self._topics if topic.route in found]
        config = await self._config(present)
        return [
            Change(
                topic=topic,
                name=topic.name(self._prefix),
                have=found.get(topic.route, (0, 0))[0],
                want=topic.partitions,
                replication=found[topic.route][1] if topic.route in found else None,
                config=_to_set(topic, config[topic.route], found[topic.route][1]) if topic.route in config else {},
            )
            for topic in self._topics
        ]

    async def apply(self) -> dict[str, int]:
        """Create what is missing, grow what is too small; returns the confirmed partitions per route.

        Two at once are safe: what the other one made already counts as made. Record the result in `partitions`
        (`connectors.postgres.placement.placements.confirm_partitions`): the outbox may only name confirmed ones.
        """
        changes = [change for change in await self.plan() if change.needed]
        create = [change for change in changes if change.have == 0]
        grow = [change for change in changes if 0 < change.have < change.want]
        await self._settle(self._create(create), already="TOPIC_ALREADY_EXISTS")
        await self._settle(
            self._admin.create_partitions([NewPartitions(c.name, c.want) for c in grow]) if grow else {},
            already="INVALID_PARTITIONS",
        )
        await self._configure([change for change in changes if change.have > 0 and change.config])
        return await self._confirm()

    async def partition_counts(self) -> dict[str, int]:
        """The partitions that each of the table's topics has now, by route; topics that do not exist are left out."""
        return {route: partitions for route, (partitions, _) in (await self._found()).items()}

    async def topic_id(self, topic: Topic) -> str:
        """The id that the cluster gave a topic; another one of the same name has another. Raises `TopicsError`."""
        name = topic.name(self._prefix)
        futures = await self._call(self._admin.describe_topics, TopicCollection([name]))
        found = await self._call(futures[name].result, self._timeout_s)
        return str(found.topic_id)

    async def _found(self) -> dict[str, tuple[int, int]]:
        """Partitions and copies of each of the table's topics that exists, by route."""
        metadata = await self._call(self._admin.list_topics, timeout=self._timeout_s)
        found = {}
        for topic in self._topics:
            present = metadata.topics.get(topic.name(self._prefix))
            if present is not None and present.error is None:
                copies = min((len(partition.replicas) for partition in present.partitions.values()), default=0)
                found[topic.route] = len(present.partitions), copies
        return found

    def _create(self, changes: Sequence[Change]) -> Mapping[str, Any]:
        if not changes:
            return {}
        made: Mapping[str, Any] = self._admin.create_topics(
            [
                NewTopic(
                    change.name,
                    num_partitions=change.want,
                    replication_factor=change.topic.replication,
                    config=change.topic.config,
                )
                for change in changes
            ]
        )
        return made

    async def _config(self, topics: Sequence[Topic]) -> dict[str, dict[str, str]]:
        if not topics:
            return {}
        resources = {topic.route: ConfigResource(ResourceType.TOPIC, topic.name(self._prefix)) for topic in topics}
        futures = await self._call(self._admin.describe_configs, list(resources.values()))
        found = {}
        for route, resource in resources.items():
            entries = await self._call(futures[resource].result, self._timeout_s)
            found[route] = {key: entry.value for key, entry in entries.items()}
        return found

    async def _configure(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        resources = [
            ConfigResource(
                ResourceType.TOPIC,
                change.name,
                incremental_configs=[
                    ConfigEntry(key, wanted, incremental_operation=AlterConfigOpType.SET)
                    for key, (_, wanted) in change.config.items()
                ],
            )
            for change in changes
        ]
        await self._settle(await self._call(self._admin.incremental_alter_configs, resources))

    async def _settle(self, futures: Mapping[Any, Any], *, already: str = "") -> None:
        for subject, future in futures.items():
            try:
                await asyncio.to_thread(future.result, self._timeout_s)
            except TimeoutError as error:
                raise TopicsError(f"{subject}: {self._silent}") from error
            except KafkaException as error:
                if error.args[0].name() != already:
                    raise TopicsError(f"{subject}: the cluster refused: {error.args[0].str()}") from error

    async def _confirm(self) -> dict[str, int]:
        """Wait until the brokers show what was made: a change is answered before it is known everywhere."""
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        while True:
            changes = await self.plan()
            unseen = [change.name for change in changes if change.needed]
            if not unseen:
                return {change.topic.route: change.have for change in changes}
            if asyncio.get_running_loop().time() >= deadline:
                raise TopicsError(f"{', '.join(unseen)}: changed, but not visible after {self._timeout_s:.0f} s")
            await asyncio.sleep(0.05)

    async def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return await asyncio.to_thread(function, *arguments, **options)
        except TimeoutError as error:  # of a future that was waited for: the request itself has a longer bound
            raise TopicsError(self._silent) from error
        except KafkaException as error:
            raise TopicsError(f"the Kafka cluster does not answer: {self._reasons.why(self._admin, error)}") from error
