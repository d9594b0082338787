"""Settings of what processes connect to: Postgres, Kafka, Kafka Connect, the object store."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from schemas.settings import values
from schemas.settings.loading import CHECK, Settings, variable


class DatabaseSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "DATABASE_"

    url: Annotated[
        str,
        Meta(
            description="Postgres address of this process's role (app for api, worker for the others): "
            "postgresql://user:password@host:port/name?sslmode=verify-full",
            extra={CHECK: values.postgres_url},
        ),
    ]
    pool_size: Annotated[int, Meta(ge=1, description="Connections kept per process")] = 8
    pool_timeout_s: Annotated[float, Meta(gt=0, description="Longest wait for a connection, seconds; then 503")] = 5.0
    statement_timeout_s: Annotated[float, Meta(gt=0, description="Longest single statement, seconds")] = 15.0
    pooled: Annotated[
        bool,
        Meta(
            description="The address is of a pooler that lends connections by the transaction (PgBouncer): nothing is "
            "prepared, and each transaction sets its own limits"
        ),
    ] = False


class KafkaSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "KAFKA_"

    brokers: Annotated[str, Meta(description="host:port list of bootstrap brokers", extra={CHECK: values.brokers})]
    topic_prefix: Annotated[str, Meta(description="First part of every topic's name", extra={CHECK: values.topic})] = (
        "media"
    )
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Meta(description="How to talk to the brokers")
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, Meta(description="SASL mechanism, with SASL_*")
    ] = None
    sasl_username: Annotated[str | None, Meta(description="SASL user name")] = None
    sasl_password: Annotated[str | None, Meta(description="SASL password")] = None
    tls_ca_file: Annotated[
        str | None,
        Meta(description="PEM file of the CA that signed the brokers' certificates", extra={CHECK: values.pem_file}),
    ] = None
    tls_cert_file: Annotated[
        str | None, Meta(description="PEM file of this client's certificate", extra={CHECK: values.pem_file})
    ] = None
    tls_key_file: Annotated[
        str | None, Meta(description="PEM file of this client's key", extra={CHECK: values.pem_file})
    ] = None

    def misfits(self) -> Sequence[str]:
        """SASL needs all that is said of it; a certificate and its key are one."""
        wrong = []
        sasl = ("sasl_mechanism", "sasl_username", "sasl_password")
        absent = [variable(type(self), field) for field in sasl if getattr(self, field) is None]
        if self.security_protocol.startswith("SASL") and absent:
            wrong.append(
                f"{variable(type(self), 'security_protocol')}={self.security_protocol} needs {' and '.join(absent)}"
            )
        return [*wrong, *_halves(self, "tls_cert_file", "tls_key_file")]


class TopicsSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "TOPICS_"

    file: Annotated[
        str | None, Meta(description="File that declares the topics, instead of schemas/topics.toml of the release")
    ] = None


class ConnectSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "CONNECT_"

    url: Annotated[str, Meta(description="Address of Kafka Connect's REST interface", extra={CHECK: values.http_url})]
    connector: Annotated[str, Meta(description="Name of the outbox connector")] = "medialane-outbox"
    database_url: Annotated[
        str | None,
        Meta(description="Postgres address of the replication role, as Connect reaches it; needed to register"),
    ] = None
    slot: Annotated[str, Meta(description="Name of the replication slot")] = "medialane_outbox"
    username: Annotated[str | None, Meta(description="Basic auth user of Connect's REST interface")] = None
    password: Annotated[str | None, Meta(description="Basic auth password of Connect's REST interface")] = None
    tls_ca_file: Annotated[
        str | None,
        Meta(description="PEM file of the CA that signed Connect's certificate", extra={CHECK: values.pem_file}),
    ] = None
    poll_interval_ms: Annotated[int, Meta(ge=1, description="How often the connector looks for new rows, ms")] = 5

    def misfits(self) -> Sequence[str]:
        """A password without a user would be sent to nobody."""
        alone = self.password is not None and self.username is None
        return [f"{variable(type(self), 'password')} needs {variable(type(self), 'username')}"] if alone else []


class ObjectStoreSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "S3_"

    endpoint: Annotated[
        str, Meta(description="Address of the S3 server as workers reach it", extra={CHECK: values.s3_url})
    ]
    public_endpoint: Annotated[
        str | None,
        Meta(
            description="Address of the S3 server as upload clients reach it; the endpoint if unset",
            extra={CHECK: values.http_url},
        ),
    ] = None
    bucket: Annotated[str, Meta(description="Bucket that holds uploads and variants", extra={CHECK: values.bucket})]
    access_key: Annotated[
        str | None, Meta(description="S3 access key id; without it and the secret key, what boto3 finds, a role's too")
    ] = None
    secret_key: Annotated[str | None, Meta(description="S3 secret key")] = None
    region: Annotated[str, Meta(description="S3 region", extra={CHECK: values.region})] = "us-east-1"
    tls_ca_file: Annotated[
        str | None,
        Meta(description="PEM file of the CA that signed the S3 certificate", extra={CHECK: values.pem_file}),
    ] = None
    connections: Annotated[int, Meta(ge=1, description="Connections kept to the S3 server")] = 16
    pool_timeout_s: Annotated[
        float, Meta(gt=0, description="Longest wait for a connection, seconds; then 503. Transfers of files wait on")
    ] = 5.0
    answer_timeout_s: Annotated[
        float, Meta(gt=0, description="How long the S3 server may be silent, seconds; with files, 30")
    ] = 10.0
    presign_ttl_s: Annotated[
        int, Meta(ge=60, le=604_800, description="Life of a presigned upload address, seconds")
    ] = 900

    def misfits(self) -> Sequence[str]:
        """A key and its secret are one."""
        return _halves(self, "access_key", "secret_key")


def _halves(group: Settings, one: str, other: str) -> Sequence[str]:
    """What to say if only one of two is set."""
    if (getattr(group, one) is None) == (getattr(group, other) is None):
        return []
    return [f"{variable(type(group), one)} and {variable(type(group), other)} need one another"]
