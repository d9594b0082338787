"""A running Medialane as seen from outside: where its doors are. Made from a stack's environment."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from schemas.settings import DatabaseSettings, KafkaSettings, load
from schemas.topics import Topic


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses and settings of a running Medialane; `logs` holds a file of JSON lines per process."""

    api_url: str
    env: Mapping[str, str]
    logs: Path

    @property
    def database(self) -> DatabaseSettings:
        """The worker role's connection, which sees every tenant."""
        return load(DatabaseSettings, self.env)

    @property
    def kafka(self) -> KafkaSettings:
        """The brokers and the topics' prefix."""
        return load(KafkaSettings, self.env)

    def topic(self, topic: Topic) -> str:
        """A topic's full name here."""
        return topic.name(self.kafka.topic_prefix)
