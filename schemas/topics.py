"""The topic table: every topic that exists. How each is made is declared in `topics.toml`, which platform teams edit.

Topics are made from this table by `medialane topics`, never by Connect or Faust, and never shrink.
"""

import re
import tomllib
from importlib import resources
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from schemas.patterns import readable, whole
from schemas.states import MediaKind, Stage


class TopicsFileError(Exception):
    """A topics file that cannot be used; the message says where and why."""


_COMPACTED = {"segment.ms": "3600000", "segment.bytes": "67108864"}
"""The segment that is written to is never compacted: with Kafka's own week, or a gigabyte, whoever reads the topic from
its beginning would read every change of a week."""

_LONGEST_SEGMENT_MS = 86_400_000
"""A record goes with its whole segment, when that one's last record is old enough: with Kafka's own week for a segment,
where little is written, a week's retention would last two."""


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic. `route` is the outbox's `aggregatetype`; the connector prefixes it with the topic prefix."""

    route: str
    partitions: int
    retention_ms: int
    description: str
    placed: bool = True  # each tenant has a partition of it in `placements`
    internal: bool = False  # not for readers outside
    replication: int = 1
    min_insync_replicas: int = 1
    unclean_leader_election: bool = False
    cleanup: str = "delete"

    def name(self, prefix: str = "media") -> str:
        """The topic's full name under a prefix (tests use prefixes of their own)."""
        return f"{prefix}.{self.route}"

    @property
    def config(self) -> dict[str, str]:
        """The topic's settings in Kafka's words."""
        return {
            "retention.ms": str(self.retention_ms),
            "min.insync.replicas": str(self.min_insync_replicas),
            "unclean.leader.election.enable": str(self.unclean_leader_election).lower(),
            "cleanup.policy": self.cleanup,
            "segment.ms": str(min(self.retention_ms, _LONGEST_SEGMENT_MS)),
        } | (_COMPACTED if "compact" in self.cleanup else {})


class _Declared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A topic's table in the file, the defaults filled in."""

    partitions: Annotated[int, Meta(ge=1)]
    retention: Annotated[str, Meta(pattern=whole(r"\d+[smhd]", "a number and s, m, h or d, such as 7d"))]
    replication: Annotated[int, Meta(ge=1)] = 1
    min_insync_replicas: Annotated[int, Meta(ge=1)] = 1
    unclean_leader_election: bool = False
    cleanup: Annotated[str, Meta(pattern=whole("(delete|compact|compact,delete)", "delete, compact or both"))] = (
        "delete"
    )


_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

_KNOWN: dict[str, dict[str, Any]] = {
    "jobs.image": {"description": "Dispatches of image jobs"},
    "jobs.video": {"description": "Dispatches of video and audio jobs"},
    "events": {"description": "What happened to assets, jobs and variants"},
    "jobs.dlq": {"description": "Records and jobs that were given up", "placed": False},
    "canary": {"description": "Readiness probes of the outbox chain", "placed": False},
    "usage": {"description": "Usage by tenant and window, as its process keeps it", "placed": False, "internal": True},
}


def declared(text: str) -> tuple[Topic, ...]:
    """The table as a topics file declares it. Raises `TopicsFileError`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TopicsFileError(f"this is no TOML: {error}") from error
    defaults, tables = document.pop("defaults", {}), document.pop("topics", {})
    strange = [*document, *(f'topics."{route}"' for route in tables if route not in _KNOWN)]
    if strange:
        raise TopicsFileError(f"unknown: {', '.join(strange)}; there are: {', '.join(_KNOWN)}")
    missing = [route for route in _KNOWN if route not in tables]
    if missing:
        raise TopicsFileError(f"not declared: {', '.join(missing)}")
    topics = tuple(_topic(route, defaults | tables[route]) for route in _KNOWN)
    partitions = {topic.route: topic.partitions for topic in topics}
    if partitions["usage"] != partitions["events"]:
        raise TopicsFileError("usage needs as many partitions as events: grow both")
    return topics


def _topic(route: str, table: dict[str, Any]) -> Topic:
    try:
        wanted = msgspec.convert(table, _Declared)
    except msgspec.ValidationError as error:
        raise TopicsFileError(f'topics."{route}": {readable(str(error))}') from error
    if wanted.min_insync_replicas > wanted.replication:
        raise TopicsFileError(
            f'topics."{route}": {wanted.min_insync_replicas} in-sync replicas of {wanted.replication} would take no '
            "record; min_insync_replicas is at most replication"
        )
    match = re.fullmatch(r"(\d+)([smhd])", wanted.retention)
    retention_ms = int(match[1]) * _MS[match[2]] if match else 0
    return Topic(
        route=route, partitions=wanted.partitions, retention_ms=retention_ms, replication=wanted.replication,
        min_insync_replicas=wanted.min_insync_replicas, unclean_leader_election=wanted.unclean_leader_election,
        cleanup=wanted.cleanup, **_KNOWN[route],
    )  # fmt: skip


# A small file of this package, read once: its numbers are what tests and published documents name.
TOPICS = declared((resources.files("schemas") / "topics.toml").read_text(encoding="utf-8"))
"""The table as this release declares it; an installation's own file may differ in everything but the routes."""

IMAGE_JOBS, VIDEO_JOBS, EVENTS, DEAD_LETTERS, CANARY, USAGE = TOPICS
JOB_TOPICS: dict[MediaKind, Topic] = {
    MediaKind.IMAGE: IMAGE_JOBS,
    MediaKind.VIDEO: VIDEO_JOBS,
    MediaKind.AUDIO: VIDEO_JOBS,
}


def with_copies(topics: tuple[Topic, ...], copies: int) -> tuple[Topic, ...]:
    """The table for a cluster that keeps so many copies, of which all but one have to have a record."""
    return tuple(
        msgspec.structs.replace(topic, replication=copies, min_insync_replicas=max(1, copies - 1)) for topic in topics
    )


def job_topic(stage: Stage) -> Topic:
    """The topic that carries a stage's dispatches."""
    return JOB_TOPICS[stage.kind]
