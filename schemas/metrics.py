"""Every metric, one typed literal each: the code, the dashboards and the alerts are all checked against this list.

Names carry the prefix `media_` and base units. No label ever holds a tenant or an asset: such series would grow without
bound; figures per tenant are in spans and logs. This module knows nothing of Prometheus; `connectors.telemetry` does.
"""

from typing import ClassVar, Literal, NamedTuple

from schemas.states import WaitReason

Process = Literal["api", "media-images", "media-video", "webhooks", "usage", "keeper"]

_MEDIA: tuple[Process, ...] = ("media-images", "media-video")
_CONSUMERS: tuple[Process, ...] = (*_MEDIA, "webhooks", "usage")
_ALL: tuple[Process, ...] = ("api", *_CONSUMERS, "keeper")


class CounterSpec(NamedTuple):
    """A count that only grows. `processes` make it at start, with the label sets in `known` at zero."""

    name: str
    help: str
    processes: tuple[Process, ...]
    labels: tuple[str, ...] = ()
    known: tuple[tuple[str, ...], ...] = ()


class GaugeSpec(NamedTuple):
    """A value of the moment. `processes` make it at start, with the label sets in `known` at zero."""

    name: str
    help: str
    processes: tuple[Process, ...]
    labels: tuple[str, ...] = ()
    known: tuple[tuple[str, ...], ...] = ()


class HistogramSpec(NamedTuple):
    """A distribution; `buckets` are upper bounds in the unit of the name, with one at every SLO's threshold."""

    name: str
    help: str
    processes: tuple[Process, ...]
    buckets: tuple[float, ...]
    labels: tuple[str, ...] = ()
    known: tuple[tuple[str, ...], ...] = ()


Metric = CounterSpec | GaugeSpec | HistogramSpec


class Buckets:
    """Upper bounds in seconds, shared by what is measured on the same scale."""

    REQUEST: ClassVar[tuple[float, ...]] = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
    HANDLING: ClassVar[tuple[float, ...]] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0)
    AGE: ClassVar[tuple[float, ...]] = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
    WORK: ClassVar[tuple[float, ...]] = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


WEBHOOK_OUTCOMES = (
    "delivered", "rejected", "redirected", "timeout", "unreachable", "refused", "gone", "unsent", "unreadable",
)  # fmt: skip
WEBHOOK_UNSENT = ("unsent", "unreadable")
"""Those after which nothing was sent, for a lack of our own: no attempt's row has them."""
WAIT_REASONS = tuple(WaitReason)

# -- HTTP, as the API answers it; `route` is the pattern, never the path --------------------------------------------
HTTP_REQUESTS = CounterSpec(
    "media_http_requests_total",
    "Requests answered, by method, route pattern and status class.",
    ("api",),
    ("method", "route", "status_class"),
)
HTTP_REQUEST_DURATION = HistogramSpec(
    "media_http_request_duration_seconds",
    "Time from a request's first byte to its answer; presign has its SLO at 0.15 s.",
    ("api",),
    Buckets.REQUEST,
    ("method", "route", "status_class"),
)

# -- Kafka records ---------------------------------------------------------------------------------------------------
EVENTS_PROCESSED = CounterSpec(
    "media_events_processed_total",
    "Records whose outcome is durable: claimed, stale, undecodable, left to the keeper (of a newer release) or capped "
    "(sent back for its tenant has its share of the window) for dispatches, ok or dead for webhooks, and for usage ok, "
    "left (undecodable), stale (a record that came again), repeat (an event that the connector sent again) or late "
    "(its window is past).",
    _CONSUMERS,
    ("topic", "event_type", "outcome"),
)
EVENT_PROCESSING_DURATION = HistogramSpec(
    "media_event_processing_duration_seconds",
    "Time from taking up a record to its durable outcome.",
    _CONSUMERS,
    Buckets.HANDLING,
    ("topic", "event_type"),
)
EVENT_AGE = HistogramSpec(
    "media_event_age_seconds",
    "Age of a record, from its Kafka timestamp, when it is taken up.",
    _CONSUMERS,
    Buckets.AGE,
    ("topic",),
)
CONSUMER_LAG = GaugeSpec(
    "media_consumer_lag_records",
    "Records between a partition's end and the group's committed offset, as the consumer sees it.",
    _CONSUMERS,
    ("topic", "partition"),
)
DLQ_MESSAGES = CounterSpec(
    "media_dlq_messages_total",
    "Dead letters written, by the topic that the record came from (its route, without the prefix) and the error code.",
    _ALL,
    ("topic", "reason"),
)

# -- Lanes: one per assigned partition -------------------------------------------------------------------------------
LANE_RUNNING = GaugeSpec("media_lane_running", "Jobs running in a lane.", _MEDIA, ("topic", "partition"))
LANE_QUEUED = GaugeSpec(
    "media_lane_queued", "Records fetched into a lane and not yet started.", _CONSUMERS, ("topic", "partition")
)
LANE_SLOTS = GaugeSpec("media_lane_slots", "Most jobs that a lane may run at once.", _MEDIA, ("topic", "partition"))
LANE_HEAD_AGE = GaugeSpec(
    "media_lane_head_age_seconds",
    "How long a lane's oldest record without a durable outcome has been there.",
    _CONSUMERS,
    ("topic", "partition"),
)
LANE_WATERMARK_GAP = GaugeSpec(
    "media_lane_watermark_gap",
    "Records between a lane's watermark (what may be committed) and its newest record.",
    _CONSUMERS,
    ("topic", "partition"),
)

# The process's own, beside its lanes' bounds: which of the two is met decides what helps.
PROCESS_SLOTS = GaugeSpec("media_process_slots", "Most jobs that a process runs at once, in all its lanes.", _MEDIA)
PROCESS_SLOTS_TAKEN = GaugeSpec(
    "media_process_slots_taken", "Slots of a process whose jobs are being claimed, or run.", _MEDIA
)

# -- Jobs ------------------------------------------------------------------------------------------------------------
CLAIMS = CounterSpec(
    "media_claims_total",
    "Claims of a job row: claimed, stale (the row has moved on), conflict (somebody holds it under this dispatch).",
    _MEDIA,
    ("outcome",),
    (("claimed",), ("stale",), ("conflict",)),
)
LEASES_LOST = CounterSpec("media_leases_lost_total", "Leases that a heartbeat found lost; the child is killed.", _MEDIA)
FENCED_FINISHES = CounterSpec(
    "media_fenced_finishes_total", "Finishes that were discarded because the row had moved on.", _MEDIA
)
DEPENDENCY_UP = GaugeSpec(
    "media_dependency_up",
    "1 while a shared dependency answers; 0: nothing is claimed until it does.",
    _MEDIA,
    ("dependency",),
    (("object_store",),),
)
JOBS_WAITING = GaugeSpec(
    "media_jobs_waiting",
    "Jobs waiting in their rows, by reason.",
    ("keeper",),
    ("reason",),
    tuple((reason,) for reason in WAIT_REASONS),
)
JOBS_OLDEST_WAITING = GaugeSpec(
    "media_jobs_oldest_waiting_seconds",
    "How long the oldest waiting job of a reason is past its due time or its turn, or `queued` without a claim.",
    ("keeper",),
    ("reason",),
    tuple((reason,) for reason in (*WAIT_REASONS, "queued")),
)
KEEPER_MOVES = CounterSpec(
    "media_keeper_moves_total",
    "Rows that the keeper moved, by its rule.",
    ("keeper",),
    ("rule",),
)
KEEPER_ROUND_DURATION = HistogramSpec(
    "media_keeper_round_duration_seconds", "Time that one round of the keeper takes.", ("keeper",), Buckets.HANDLING
)
ASSET_READY_DURATION = HistogramSpec(
    "media_asset_ready_duration_seconds",
    "Time from an upload's complete to ready, with all waiting and retries; images have their SLO at 30 s.",
    _MEDIA,
    Buckets.WORK,
    ("kind",),
    (("image",), ("video",)),
)
JOBS_FINISHED = CounterSpec(
    "media_jobs_finished_total",
    "Jobs that reached a terminal state, by stage, outcome and error class: none when done, permanent when the input "
    "is to blame, transient when it was tried, or lost with its worker, too often.",
    (*_MEDIA, "keeper"),
    ("stage", "outcome", "error_class"),
)
STAGE_DURATION = HistogramSpec(
    "media_job_stage_duration_seconds",
    "Time of each step of a job: download, dedup, process, upload, and those that the child tells of.",
    _MEDIA,
    Buckets.WORK,
    ("stage", "step"),
)
VARIANT_DURATION = HistogramSpec(
    "media_variant_duration_seconds", "Time to make one variant.", _MEDIA, Buckets.WORK, ("profile",)
)
VARIANT_FAILURES = CounterSpec(
    "media_variant_failures_total", "Variants that could not be made, by error code.", _MEDIA, ("profile", "code")
)
CHILD_DEATHS = CounterSpec(
    "media_child_deaths_total", "Processing children that died or were killed, by cause.", _MEDIA, ("cause",)
)

SANDBOX_WALLS = GaugeSpec(
    "media_sandbox_wall_up",
    "1 where the kernel keeps it from the processing children, else 0: the network, files and processes other than "
    "their own, privileges.",
    _MEDIA,
    ("wall",),
    (("network",), ("files",), ("signals",), ("privileges",)),
)

BREAKERS = GaugeSpec(
    "media_breakers",
    "Tenants whose breaker is not closed, by its state: their jobs wait in their rows.",
    ("keeper",),
    ("state",),
    (("open",), ("half_open",)),
)
BREAKER_CHANGES = CounterSpec(
    "media_breaker_changes_total",
    "Breakers that the keeper moved, by the state that they came to.",
    ("keeper",),
    ("state",),
    (("open",), ("half_open",), ("closed",)),
)

OBJECTS_REMOVED = CounterSpec(
    "media_objects_removed_total",
    "Objects that the keeper removed from the store: of purged assets, or referred to by no row.",
    ("keeper",),
    ("cause",),
    (("purge",), ("orphan",)),
)
BUCKET_MISMATCH = GaugeSpec(
    "media_bucket_mismatch",
    "1 while the bucket is not this installation's, or not known to be: nothing is removed from it.",
    ("keeper",),
)
SWEEP_STOPPED = GaugeSpec(
    "media_sweep_stopped",
    "1 if the last walk over the bucket was stopped, because too much of it seemed to be referred to by no row.",
    ("keeper",),
)
UPLOADS_ABANDONED = CounterSpec(
    "media_uploads_abandoned_total",
    "Uploads that nobody completed and the keeper removed: announced for a single request, or in parts.",
    ("keeper",),
    ("kind",),
    (("single",), ("parts",)),
)

# -- Outbox and Connect ----------------------------------------------------------------------------------------------
OUTBOX_OLDEST_UNSENT_AGE = GaugeSpec(
    "media_outbox_oldest_unsent_age_seconds",
    "Age of the oldest outbox row that the connector has not confirmed, as far as this keeper has seen.",
    ("keeper",),
)
SLOT_RETAINED = GaugeSpec(
    "media_replication_slot_retained_bytes",
    "WAL that Postgres keeps for the connector's slot (if that was lost, what it has missed since), or for another "
    "logical slot of this database that nobody reads, whichever is more.",
    ("keeper",),
)
CONNECTOR_AHEAD = GaugeSpec(
    "media_connector_ahead_bytes",
    "How far the position that Connect has noted is beyond the end of Postgres' log: rows up to there are not sent.",
    ("keeper",),
)
CONNECTOR_TASK_UP = GaugeSpec(
    "media_connector_task_up", "1 while the outbox connector and its task run, else 0.", ("keeper",)
)
CONNECTOR_RESTARTS = CounterSpec(
    "media_connector_restarts_total", "Restarts of the outbox connector's failed task by the watchdog.", ("keeper",)
)

# -- Webhooks --------------------------------------------------------------------------------------------------------
WEBHOOK_ATTEMPTS = CounterSpec(
    "media_webhook_attempts_total",
    "Attempts to deliver, by outcome and status class (none without an answer); unreadable: no key opens the secret.",
    ("webhooks",),
    ("outcome", "status_class"),
    (
        ("delivered", "2xx"), ("redirected", "3xx"), ("rejected", "4xx"), ("rejected", "5xx"), ("gone", "4xx"),
        ("timeout", "none"), ("unreachable", "none"), ("refused", "none"), ("unsent", "none"),
        ("unreadable", "none"),
    ),
)  # fmt: skip
WEBHOOK_ATTEMPT_DURATION = HistogramSpec(
    "media_webhook_attempt_duration_seconds",
    "Time of an attempt, from the connection to the end of the answer.",
    ("webhooks",),
    (*Buckets.REQUEST, 15.0, 30.0),
    ("outcome", "status_class"),
)
WEBHOOK_FIRST_ATTEMPT_AGE = HistogramSpec(
    "media_webhook_first_attempt_age_seconds",
    "Age of the event when its first attempt starts, unless its receiver did not answer soon last; the SLO is at 10 s.",
    ("webhooks",),
    Buckets.AGE,
)
WEBHOOK_DELIVERIES = CounterSpec(
    "media_webhook_deliveries_total",
    "Deliveries by what became of them: made, delivered, retried, dead.",
    ("webhooks",),
    ("outcome",),
    (("made",), ("delivered",), ("retried",), ("dead",)),
)
WEBHOOK_IN_FLIGHT = GaugeSpec(
    "media_webhook_in_flight",
    "Requests to receivers that are open now, or whose lookup of a name outlasts them.",
    ("webhooks",),
)
WEBHOOK_FENCED = CounterSpec(
    "media_webhook_fenced_results_total",
    "Results that were discarded because another agent had taken the delivery over.",
    ("webhooks",),
)
WEBHOOK_OLDEST_DUE_AGE = GaugeSpec(
    "media_webhook_oldest_due_age_seconds",
    "How long the oldest due delivery is overdue that its receiver does not hold back.",
    ("webhooks",),
)
WEBHOOK_OLDEST_HELD_BACK_AGE = GaugeSpec(
    "media_webhook_oldest_held_back_age_seconds",
    "How long the oldest due delivery is overdue whose receiver does not answer soon, or not fast enough for the slots "
    "of its own or of its tenant.",
    ("webhooks",),
)
WEBHOOK_ENDPOINTS_DISABLED = GaugeSpec(
    "media_webhook_endpoints_disabled", "Endpoints that are registered and disabled.", ("webhooks",)
)

# -- Every process ---------------------------------------------------------------------------------------------------
DB_POOL_SIZE = GaugeSpec("media_db_pool_size", "Most connections that the pool keeps.", _ALL)
DB_POOL_IN_USE = GaugeSpec("media_db_pool_in_use", "Connections that are taken from the pool.", _ALL)
CLOCK_AHEAD = GaugeSpec("media_clock_ahead_seconds", "How far the process's clock is ahead of Postgres'.", _ALL)
SLO_TARGET = GaugeSpec("media_slo_target_ratio", "Promised share of good events, by objective.", _ALL, ("slo",))
# Not `service`: a scrape of Kubernetes' brings a label of that name, before which ours would step aside.
BUILD_INFO = GaugeSpec("media_build_info", "Always 1; says what runs.", _ALL, ("process", "version"))

SLO_TARGETS: dict[str, float] = {
    "api_availability": 0.999,
    "presign_latency": 0.95,  # of presigns within 0.15 s
    "image_ready": 0.99,  # of images within 30 s
    "webhook_first_attempt": 0.99,  # of events within 10 s
    "job_success": 0.99,  # permanent input errors excluded
}

CATALOGUE: tuple[Metric, ...] = tuple(
    value for value in list(vars().values()) if isinstance(value, CounterSpec | GaugeSpec | HistogramSpec)
)
