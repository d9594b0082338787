"""The topic table: every topic that exists, with its partitions and retention.

Topics are made from this table by `medialane topics`, never by Connect, and never shrink.
"""

import msgspec

from schemas.states import MediaKind, Stage


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic. `route` is the outbox's `aggregatetype`; the connector prefixes it with the topic prefix."""

    route: str
    partitions: int
    retention_ms: int
    description: str
    placed: bool = True  # each tenant has a partition of it in `placements`

    def name(self, prefix: str = "media") -> str:
        """The topic's full name under a prefix (tests use prefixes of their own)."""
        return f"{prefix}.{self.route}"


_DAY = 86_400_000

IMAGE_JOBS = Topic(route="jobs.image", partitions=8, retention_ms=7 * _DAY, description="Dispatches of image jobs")
VIDEO_JOBS = Topic(
    route="jobs.video", partitions=8, retention_ms=7 * _DAY, description="Dispatches of video and audio jobs"
)
EVENTS = Topic(
    route="events", partitions=8, retention_ms=7 * _DAY, description="What happened to assets, jobs and variants"
)
DEAD_LETTERS = Topic(
    route="jobs.dlq",
    partitions=1,
    retention_ms=30 * _DAY,
    description="Records and jobs that were given up",
    placed=False,
)
CANARY = Topic(
    route="canary",
    partitions=1,
    retention_ms=_DAY // 24,
    description="Readiness probes of the outbox chain",
    placed=False,
)

TOPICS: tuple[Topic, ...] = (IMAGE_JOBS, VIDEO_JOBS, EVENTS, DEAD_LETTERS, CANARY)
JOB_TOPICS: dict[MediaKind, Topic] = {
    MediaKind.IMAGE: IMAGE_JOBS,
    MediaKind.VIDEO: VIDEO_JOBS,
    MediaKind.AUDIO: VIDEO_JOBS,
}


def job_topic(stage: Stage) -> Topic:
    """The topic that carries a stage's dispatches."""
    return JOB_TOPICS[stage.kind]
