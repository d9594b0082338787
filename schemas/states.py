"""The states that rows move through, and the stages of work.

One place, because the API, the workers, the keeper and the migrations' CHECK constraints must agree on the words.
"""

from enum import StrEnum


class AssetState(StrEnum):
    """An asset's state; `ready`, `failed`, `cancelled` and `deleted` are terminal for a generation."""

    PENDING = "pending"  # presigned, nothing uploaded yet
    UPLOADED = "uploaded"  # complete was called; its primary job exists
    PROCESSING = "processing"  # the primary job was claimed at least once
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"  # its jobs were stopped before they ended
    DELETED = "deleted"  # gone for its tenant; its objects follow


class JobState(StrEnum):
    """A job row's state; the row owns the work, Kafka only carries dispatches of it."""

    WAITING = "waiting"  # not in Kafka; `reason` says for what, `due_at` until when
    QUEUED = "queued"  # a dispatch with the row's counter was emitted
    RUNNING = "running"  # claimed under a lease
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class WaitReason(StrEnum):
    """Why a job waits in its row instead of in a partition."""

    CREDIT = "credit"  # its tenant's dispatches are used up
    RETRY = "retry"  # an attempt has failed, or a dependency is away
    TWIN = "twin"  # another job makes variants of the same bytes
    BREAKER = "breaker"  # its tenant's breaker is open
    CAP = "cap"  # a lane has sent it back: its tenant had its share of the window


class MediaKind(StrEnum):
    """What the bytes are, by content."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


class Stage(StrEnum):
    """A step of work on an asset. Only a primary stage decides the asset's state; the others follow it and yield."""

    IMAGE_PRIMARY = "image.primary"
    IMAGE_AVIF = "image.avif"
    VIDEO_PRIMARY = "video.primary"
    VIDEO_LADDER = "video.ladder"
    AUDIO_PRIMARY = "audio.primary"

    @property
    def kind(self) -> MediaKind:
        """The kind of media that this stage reads."""
        return MediaKind(self.value.partition(".")[0])

    @property
    def primary(self) -> bool:
        """Whether the asset is ready when this is done."""
        return is_primary(self)


def is_primary(stage: str) -> bool:
    """The same of a stage that only a newer release may know."""
    return stage.endswith(".primary")


PRIMARY_STAGE: dict[MediaKind, Stage] = {
    MediaKind.IMAGE: Stage.IMAGE_PRIMARY,
    MediaKind.VIDEO: Stage.VIDEO_PRIMARY,
    MediaKind.AUDIO: Stage.AUDIO_PRIMARY,
}


class JobClass(StrEnum):
    """How a job stands to its tenant's others: secondary and bulk work takes what primary work leaves, and ages."""

    PRIMARY = "primary"  # somebody waits for the asset
    SECONDARY = "secondary"  # the asset is ready, or is processed again
    BULK = "bulk"  # reprocessing of many

    @classmethod
    def of(cls, stage: Stage) -> "JobClass":
        """The class of a stage's jobs, where nothing else is said."""
        return cls.PRIMARY if stage in PRIMARY_STAGE.values() else cls.SECONDARY

    @property
    def follow_up(self) -> "JobClass":
        """The class of a job that is made at the end of one of this class."""
        return JobClass.BULK if self is JobClass.BULK else JobClass.SECONDARY


class BreakerState(StrEnum):
    """A tenant's breaker: see `connectors.postgres.protocol.breakers`."""

    CLOSED = "closed"
    OPEN = "open"  # its jobs wait in their rows
    HALF_OPEN = "half_open"  # one of them is tried


class DeliveryState(StrEnum):
    """A webhook delivery's state: one row per event and endpoint."""

    SENDING = "sending"  # leased to an agent
    WAITING = "waiting"  # due again at `due_at`
    DELIVERED = "delivered"
    DEAD = "dead"  # attempts exhausted or the endpoint is gone
