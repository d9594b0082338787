"""The groups of settings but those of connections, and which groups each process reads."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from schemas.settings import values
from schemas.settings.connections import (
    ConnectSettings,
    DatabaseSettings,
    KafkaSettings,
    ObjectStoreSettings,
    TopicsSettings,
)
from schemas.settings.loading import CHECK, Settings, variable

LANE_RUNNING_BOUNDS = (1, 256)
"""Fewest and most jobs at once in a lane; the table's CHECK has the same."""
LANE_WINDOW_BOUNDS = (4, 4096)
"""Smallest and largest window of a lane, records; the table's CHECK has the same."""


class MigrationSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "MIGRATION_"

    database_url: Annotated[
        str,
        Meta(
            description="Postgres address of the owner role, who may create tables and roles",
            extra={CHECK: values.postgres_url},
        ),
    ]
    allow_destructive: Annotated[bool, Meta(description="Permit steps that drop or rewrite data")] = False


class ApiSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "API_"

    host: Annotated[str, Meta(description="Address to listen on", extra={CHECK: values.host})] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="Port to listen on")] = 8080
    max_upload_bytes: Annotated[int, Meta(ge=1, description="Largest upload that presign accepts, bytes")] = (
        5_368_709_120
    )
    variant_ttl_s: Annotated[int, Meta(ge=60, le=604_800, description="Life of a signed download address, seconds")] = (
        3600
    )
    public_endpoint: Annotated[
        str | None,
        Meta(
            description="Address of the API as clients reach it, for signed addresses; if unset, what the request "
            "was sent to",
            extra={CHECK: values.http_url},
        ),
    ] = None


class MediaSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "MEDIA_"

    signing_key: Annotated[str, Meta(description="32 bytes, base64: addresses of variants are signed with it (HMAC)")]
    signing_key_old: Annotated[
        tuple[str, ...], Meta(description="Keys whose signatures are still taken, comma separated")
    ] = ()


class AuthSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "AUTH_"

    jwks: Annotated[
        str | None,
        Meta(description="Address or file of a JWKS: JWTs signed by its keys are taken beside API keys; none: no JWTs"),
    ] = None
    issuer: Annotated[str | None, Meta(description="`iss` that a JWT has to have; required with a JWKS")] = None
    audience: Annotated[str | None, Meta(description="`aud` that a JWT has to have; required with a JWKS")] = None
    tenant_claim: Annotated[str, Meta(description="Claim of a JWT that holds the tenant's slug")] = "tenant"
    leeway_s: Annotated[float, Meta(ge=0, le=300, description="Clock skew granted to a JWT's times, seconds")] = 30.0
    jwks_ttl_s: Annotated[float, Meta(gt=0, description="How long the JWKS is believed before it is read again")] = (
        300.0
    )


class WorkerSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "WORKER_"

    slots: Annotated[
        int,
        Meta(
            ge=0,
            description="Children that compute at once; one job more is claimed, and downloads. 0: one per core, but "
            "no more than the container's memory has GiB",
        ),
    ] = 0
    lane_concurrency: Annotated[
        int,
        Meta(
            ge=LANE_RUNNING_BOUNDS[0], le=LANE_RUNNING_BOUNDS[1],
            description="Jobs at once per partition, unless `medialane lanes set` says else",
        ),
    ] = 4  # fmt: skip
    lane_window: Annotated[
        int,
        Meta(
            ge=LANE_WINDOW_BOUNDS[0], le=LANE_WINDOW_BOUNDS[1],
            description="Records fetched and not yet started, per partition, unless `medialane lanes set` says else",
        ),
    ] = 256  # fmt: skip
    lease_s: Annotated[float, Meta(gt=0, description="Life of a job's lease, seconds")] = 10.0
    heartbeat_s: Annotated[float, Meta(gt=0, description="How often leases are renewed, seconds")] = 3.0
    max_attempts: Annotated[
        int,
        Meta(ge=1, description="Attempts before a job is given up; 2 at most where a video or sound ran out of time"),
    ] = 5
    retry_base_s: Annotated[
        float, Meta(gt=0, description="First pause after a transient failure, seconds; doubles")
    ] = 2.0
    retry_cap_s: Annotated[float, Meta(gt=0, description="Longest pause between attempts, seconds")] = 300.0
    temp_dir: Annotated[str, Meta(description="Folder for files in work", extra={CHECK: values.folder})] = (
        "/tmp/medialane"  # noqa: S108 - a default only
    )
    session_timeout_s: Annotated[float, Meta(gt=0, description="Kafka session timeout, seconds")] = 10.0
    rebalance_timeout_s: Annotated[float, Meta(gt=0, description="Kafka rebalance timeout, seconds")] = 15.0
    max_poll_s: Annotated[
        float, Meta(gt=0, description="Kafka max poll interval, seconds; a worker with full lanes does not poll")
    ] = 86_400.0
    commit_interval_s: Annotated[float, Meta(gt=0, description="How often offsets are committed, seconds")] = 0.5
    watchdog_s: Annotated[
        float,
        Meta(
            gt=0,
            description="How long without partitions, or without reading what could be worked on, until the process "
            "ends itself, seconds",
        ),
    ] = 60.0
    instance_id: Annotated[
        str | None,
        Meta(
            description="Static membership: a name that only this process has in its group and keeps over restarts; "
            "one that ends within the session timeout moves no partition"
        ),
    ] = None

    def misfits(self) -> Sequence[str]:
        """A lease must outlive a heartbeat that comes late."""
        if self.heartbeat_s * 2 < self.lease_s:
            return []
        heartbeat, lease = (variable(WorkerSettings, field) for field in ("heartbeat_s", "lease_s"))
        return [f"{heartbeat}={self.heartbeat_s:g} is not valid: {lease}={self.lease_s:g} needs one below its half"]


class ProcessorSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "PROCESSOR_"

    around: Annotated[
        str | None,
        Meta(
            description="Function (module:name) called as around(run, job) for every job in its child; for tests that "
            "need work of a told length"
        ),
    ] = None
    jobs_per_child: Annotated[int, Meta(ge=1, description="Jobs after which a child is replaced")] = 200
    nice: Annotated[
        int, Meta(ge=0, le=19, description="How far media children stand back where the CPU is short (nice value)")
    ] = 10
    image_timeout_s: Annotated[float, Meta(gt=0, description="Longest image job, seconds")] = 60.0
    video_timeout_s: Annotated[
        float, Meta(gt=0, description="Longest job of a short video or of sound, seconds; see the next")
    ] = 1800.0
    video_timeout_ratio: Annotated[
        float,
        Meta(
            gt=0,
            description="Longest job of a video by its length: of an hour at 5, five hours (with one thread a ladder "
            "takes 1.5 to 2.6), and as much more as it has more pixels a second than 1080p of 30 frames. Never more "
            "than 20 hours, which is less than the keeper's orphan age",
        ),
    ] = 5.0
    memory_mb: Annotated[int, Meta(ge=256, description="Address space of a child, MiB")] = 4096
    max_image_bytes: Annotated[int, Meta(ge=1, description="Largest picture file, bytes")] = 268_435_456
    max_video_bytes: Annotated[int, Meta(ge=1, description="Largest video file, bytes")] = 5_368_709_120
    max_image_pixels: Annotated[int, Meta(ge=1, description="Most pixels of a picture")] = 50_000_000
    max_image_side: Annotated[int, Meta(ge=1, description="Longest side of a picture, pixels")] = 16_384
    max_frames: Annotated[int, Meta(ge=1, description="Most frames of an animated picture")] = 300
    max_video_seconds: Annotated[float, Meta(gt=0, description="Longest video, seconds")] = 14_400.0
    max_video_work_s: Annotated[
        float,
        Meta(
            gt=0,
            description="Longest video by what it takes, in seconds of 1080p of 30 frames each, of which one with more "
            "pixels a second has as much more: four hours of 2160p30 or two of 2160p60 are 57,600",
        ),
    ] = 64_800.0
    max_video_side: Annotated[int, Meta(ge=1, description="Longest side of a video, pixels")] = 8192
    max_output_bytes: Annotated[int, Meta(ge=1, description="Largest file that a child may write, bytes")] = (
        4_294_967_296
    )
    max_temp_bytes: Annotated[
        int, Meta(ge=1, description="Most that a job's folder may hold, its source too, bytes")
    ] = 17_179_869_184


class ProfileSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "PROFILES_"

    default: Annotated[
        tuple[str, ...], Meta(description="Sets and profiles for tenants that chose none, comma separated")
    ] = ("default",)


class KeeperSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "KEEPER_"

    interval_s: Annotated[float, Meta(gt=0, description="Pause between rounds, seconds")] = 1.0
    batch: Annotated[int, Meta(ge=1, description="Most rows that a rule of a round moves at once")] = 500
    max_deaths: Annotated[int, Meta(ge=1, description="Workers that a job may take with it before it is given up")] = 3
    requeue_after_s: Annotated[float, Meta(gt=0, description="First re-emission of a queued job, seconds; doubles")] = (
        30.0
    )
    lease_s: Annotated[
        float,
        Meta(
            gt=0,
            description="How long after the database was away, or its clock leapt, no lease counts as over, seconds: "
            "one lease, so that live workers renew first",
        ),
    ] = 10.0
    outbox_retention_s: Annotated[float, Meta(gt=0, description="How long outbox rows are kept, seconds")] = 86_400.0
    sweep_interval_s: Annotated[
        float, Meta(gt=0, description="How often objects that no row refers to are looked for, seconds")
    ] = 86_400.0
    orphan_age_s: Annotated[
        float, Meta(ge=3600, description="Age at which such an object is removed, seconds; more than any job lasts")
    ] = 86_400.0
    upload_age_s: Annotated[
        float,
        Meta(ge=3600, description="How long after its last address has ended an upload nobody completed goes, seconds"),
    ] = 86_400.0
    delivery_retention_s: Annotated[
        float,
        Meta(
            ge=604_800,
            description="How long webhook deliveries that ended are kept with their attempts, and endpoints that were "
            "deleted, seconds. Not less than what `media.events` keeps: an event that is read again later would be "
            "delivered again",
        ),
    ] = 2_592_000.0
    letter_retention_s: Annotated[
        float,
        Meta(
            ge=604_800,
            description="How long dead letters of records that could not be decoded are kept, seconds; those of jobs "
            "go with their assets",
        ),
    ] = 7_776_000.0
    key_retention_s: Annotated[
        float, Meta(ge=86_400, description="How long API keys that were revoked or expired are listed, seconds")
    ] = 7_776_000.0
    audit_retention_s: Annotated[
        float, Meta(ge=2_592_000, description="How long entries of the audit log are kept, seconds")
    ] = 31_536_000.0


class BreakerSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "BREAKER_"

    consecutive: Annotated[int, Meta(ge=1, description="Dead letters in a row that open a tenant's breaker")] = 20
    ratio: Annotated[
        float, Meta(gt=0, le=1, description="Share of dead letters among a tenant's ended jobs that opens its breaker")
    ] = 0.5
    minimum: Annotated[int, Meta(ge=1, description="Fewest ended jobs for the share to count")] = 40
    window_s: Annotated[float, Meta(gt=0, description="How far back ended jobs are counted, seconds")] = 600.0
    pause_s: Annotated[
        float, Meta(gt=0, description="Pause before an open breaker lets one job through, seconds; doubles if it fails")
    ] = 30.0
    longest_pause_s: Annotated[float, Meta(gt=0, description="Longest such pause, seconds")] = 900.0


class WebhookSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "WEBHOOK_"

    in_flight: Annotated[
        int, Meta(ge=1, description="Requests at once in this process; three quarters of it for a tenant alone")
    ] = 96
    in_flight_per_endpoint: Annotated[int, Meta(ge=1, description="Requests at once to one endpoint")] = 16
    timeout_s: Annotated[float, Meta(gt=0, description="Longest single request, seconds")] = 15.0
    lease_s: Annotated[float, Meta(gt=0, description="Life of a delivery's lease, seconds; more than the timeout")] = (
        30.0
    )
    schedule_s: Annotated[
        tuple[Annotated[float, Meta(ge=0)], ...],
        Meta(description="Pauses before each further attempt, seconds, comma separated"),
    ] = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    allow_private: Annotated[bool, Meta(description="Permit loopback and private receivers (development only)")] = False
    encryption_key: Annotated[
        str, Meta(description="32 bytes, base64: endpoint secrets are stored encrypted under it (AES-GCM)")
    ]
    encryption_key_old: Annotated[
        tuple[str, ...],
        Meta(description="Keys that still open what was stored under them, comma separated; see `medialane secrets`"),
    ] = ()
    poll_interval_s: Annotated[float, Meta(gt=0, description="How often due deliveries are looked for, seconds")] = 1.0


class PullSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "PULL_"

    max_bytes: Annotated[int, Meta(ge=1, description="Largest file that is fetched from a remote address, bytes")] = (
        536_870_912
    )
    timeout_s: Annotated[
        float, Meta(gt=0, le=100, description="Longest time to fetch and store a file, seconds")
    ] = 60.0  # fmt: skip
    at_once: Annotated[int, Meta(ge=1, description="Files fetched at once in this process; half of it per tenant")] = 8
    allow_private: Annotated[
        bool, Meta(description="Permit loopback and private addresses (development only)")
    ] = False  # fmt: skip
    temp_dir: Annotated[
        str, Meta(description="Folder for files that are being fetched", extra={CHECK: values.folder})
    ] = "/tmp/medialane"  # noqa: S108 - a default only


class UsageSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "USAGE_"

    window_s: Annotated[float, Meta(ge=1, description="Length of a window of usage, seconds")] = 3600.0
    keep_s: Annotated[
        float,
        Meta(
            gt=0, description="How long windows are kept in memory, seconds; the topic's retention keeps them on disk"
        ),
    ] = 604_800.0


class TelemetrySettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "TELEMETRY_"

    service: Annotated[str | None, Meta(description="Service name in traces and logs; the process's own if unset")] = (
        None
    )
    otlp_endpoint: Annotated[
        str | None,
        Meta(description="OTLP/HTTP address of a trace collector; none: no export", extra={CHECK: values.http_url}),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severe level that is logged")
    ] = "info"
    metrics_host: Annotated[
        str, Meta(description="Address of /metrics, /healthz and /readyz of a worker", extra={CHECK: values.host})
    ] = "127.0.0.1"
    metrics_port: Annotated[
        int, Meta(ge=0, le=65_535, description="Port of /metrics, /healthz and /readyz of a worker; 0: any free")
    ] = 0


class ShutdownSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "SHUTDOWN_"

    drain_timeout: Annotated[
        float,
        Meta(
            ge=0,
            description="How long a drain may take, seconds; its last 8 are for giving jobs back",
        ),
    ] = 30.0


_WORKER = (DatabaseSettings, KafkaSettings, WorkerSettings, TelemetrySettings, ShutdownSettings)
_MEDIA_WORKER = (*_WORKER, ObjectStoreSettings, ProcessorSettings, ProfileSettings)

PROCESSES: dict[str, tuple[type[Settings], ...]] = {
    "api": (
        DatabaseSettings,
        ObjectStoreSettings,
        ApiSettings,
        MediaSettings,
        AuthSettings,
        KafkaSettings,
        WebhookSettings,
        PullSettings,
        ProfileSettings,
        TelemetrySettings,
        ShutdownSettings,
    ),
    "media-images": _MEDIA_WORKER,
    "media-video": _MEDIA_WORKER,
    "webhooks": (*_WORKER, WebhookSettings),
    "usage": (KafkaSettings, WorkerSettings, UsageSettings, TelemetrySettings, ShutdownSettings),
    "keeper": (
        DatabaseSettings,
        ConnectSettings,
        ObjectStoreSettings,
        KeeperSettings,
        BreakerSettings,
        TelemetrySettings,
    ),
    "migrate": (MigrationSettings,),
    "topics": (KafkaSettings, TopicsSettings, MigrationSettings),
    "connector": (ConnectSettings, KafkaSettings),
}
"""Which groups each process reads; the compose file is tested against this table."""
