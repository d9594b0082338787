"""A running Medialane as seen from outside: where its doors are. Made from a stack's environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from schemas.settings import ApiSettings, ConnectSettings, DatabaseSettings, KafkaSettings, load
from schemas.topics import Topic


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses and settings of a running Medialane; `logs` holds a file of JSON lines per process."""

    api_url: str
    env: Mapping[str, str]
    logs: Path

    @classmethod
    def of(cls, env: Mapping[str, str], logs: Path) -> Self:
        """From the `MEDIALANE_*` variables of its processes. Raises `SettingsError` if one is missing."""
        api = load(ApiSettings, env)
        return cls(api_url=f"http://{api.host}:{api.port}", env=env, logs=logs)

    @property
    def database(self) -> DatabaseSettings:
        """The worker role's connection, which sees every tenant."""
        return load(DatabaseSettings, self.env)

    @property
    def kafka(self) -> KafkaSettings:
        """The brokers and the topics' prefix."""
        return load(KafkaSettings, self.env)

    @property
    def connect(self) -> ConnectSettings:
        """Kafka Connect's REST interface and the connector's name."""
        return load(ConnectSettings, self.env)

    def topic(self, topic: Topic) -> str:
        """A topic's full name here."""
        return topic.name(self.kafka.topic_prefix)
