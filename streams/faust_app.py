"""A Faust app for one topic, configured as design and experience demand, on our transport.

    app = build_app(group, topic, kafka, worker, books, receive)
    await app.start() ... await app.stop()

`receive(record)` is called in the event loop for every record, in order per partition; it must not block. One that
raises is logged and taken for a defect: the record stays open, and the watermark with it.
"""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import faust
import structlog
from faust.sensors import SensorDelegate

from schemas.settings import KafkaSettings, WorkerSettings
from streams.core.ledger import Partition
from streams.core.ports import Books
from streams.transport import Transport

log = structlog.get_logger(__name__)

_BUFFER = 1_000_000
_METADATA_MS = 30_000  # how soon partitions that were added, and topics that were made late, are noticed


class Record(NamedTuple):
    """A Kafka record as it came; `timestamp` is the broker's, seconds since 1970."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: float

    @property
    def log_names(self) -> dict[str, object]:
        """What logs say of which record this is."""
        return {"topic": self.partition.topic, "kpart": self.partition.partition, "offset": self.offset}


Receive = Callable[[Record], None]


class _NoSensors(SensorDelegate):
    def on_rebalance_start(self, app: Any) -> dict[Any, Any]:
        """Say something, or Faust warns at every rebalance that nothing was said."""
        return {app: {}}


class _App(faust.App):
    def on_init_dependencies(self) -> Any:
        """Leave Faust's monitor out: a tenth of the CPU that a record costs, for figures that nobody reads."""
        found = super().on_init_dependencies()
        self.sensors.remove(self.monitor)
        self.sensors = _NoSensors(self)
        return found


def build_app(
    group: str,
    topic: str,
    kafka: KafkaSettings,
    worker: WorkerSettings,
    books: Books,
    receive: Receive,
) -> faust.App:
    """An app that is a member of consumer group `group` and hands every record of `topic` to `receive`."""
    # Faust makes its own folder, of which it needs nothing here, but not the ones above it.
    Path(worker.temp_dir).mkdir(parents=True, exist_ok=True)
    app = _App(
        group,
        broker=[f"kafka://{broker.strip()}" for broker in kafka.brokers.split(",")],
        broker_credentials=broker_credentials(kafka),
        # Timeouts: short enough to take over in about ten seconds. Faust leaves the group, for good, when it fetches
        # nothing for the poll interval, as it does while every lane is full: so that is a day.
        broker_session_timeout=worker.session_timeout_s,
        broker_heartbeat_interval=min(2.0, worker.session_timeout_s / 4),
        broker_rebalance_timeout=worker.rebalance_timeout_s,
        broker_request_timeout=max(90.0, worker.session_timeout_s),
        broker_max_poll_interval=worker.max_poll_s,
        broker_commit_interval=worker.commit_interval_s,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=_METADATA_MS,
        consumer_group_instance_id=worker.instance_id,
        # Waiting for unfinished work in a rebalance makes workers evict each other; the job rows' leases do that.
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        # Lanes bound what is in memory, by not fetching; Faust's own buffer must never be what blocks.
        stream_buffer_maxsize=_BUFFER,
        # A table in memory forgets what it followed for others when it recovers, so following brings nothing.
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
        datadir=str(Path(worker.temp_dir) / "faust"),
    )
    app.transport = Transport(app, books)
    source = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    async def read(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            try:
                receive(_record(message))
            except Exception:
                log.exception(
                    "record not taken in", topic=message.topic, kpart=message.partition, offset=message.offset
                )

    app.agent(source, name=f"{group}.read")(read)
    return app


def broker_credentials(kafka: KafkaSettings) -> Any:
    """What Faust needs for the security protocol; None for plain text.

    Raises `OSError` or `ssl.SSLError` if a certificate file cannot be read.
    """
    context = None
    if kafka.security_protocol in ("SSL", "SASL_SSL"):
        context = ssl.create_default_context(cafile=kafka.tls_ca_file)
        if kafka.tls_cert_file:
            context.load_cert_chain(kafka.tls_cert_file, kafka.tls_key_file)
    if kafka.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password,
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None


def _record(message: Any) -> Record:
    # The message's own list of headers: Faust's dict keeps only one of two that share a name.
    headers = tuple((name, value) for name, value in message.headers or ())
    return Record(
        Partition(message.topic, message.partition), message.offset, message.key, message.value, headers,
        message.timestamp,
    )  # fmt: skip
