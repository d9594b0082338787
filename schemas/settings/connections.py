"""Settings of what processes connect to: Postgres, Kafka, Kafka Connect, the object store."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from schemas.settings.loading import Settings


class DatabaseSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "DATABASE_"

    url: Annotated[
        str,
        Meta(
            description="Postgres address of this process's role (app for api, worker for the others): "
            "postgresql://user:password@host:port/name?sslmode=verify-full"
        ),
    ]
    pool_size: Annotated[int, Meta(ge=1, description="Connections kept per process")] = 8
    pool_timeout_s: Annotated[float, Meta(gt=0, description="Longest wait for a connection, seconds; then 503")] = 5.0
    statement_timeout_s: Annotated[float, Meta(gt=0, description="Longest single statement, seconds")] = 15.0


class KafkaSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "KAFKA_"

    brokers: Annotated[str, Meta(description="host:port list of bootstrap brokers")]
    topic_prefix: Annotated[str, Meta(description="First part of every topic's name")] = "media"
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Meta(description="How to talk to the brokers")
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, Meta(description="SASL mechanism, with SASL_*")
    ] = None
    sasl_username: Annotated[str | None, Meta(description="SASL user name")] = None
    sasl_password: Annotated[str | None, Meta(description="SASL password")] = None
    tls_ca_file: Annotated[str | None, Meta(description="PEM file of the CA that signed the brokers' certificates")] = (
        None
    )
    tls_cert_file: Annotated[str | None, Meta(description="PEM file of this client's certificate")] = None
    tls_key_file: Annotated[str | None, Meta(description="PEM file of this client's key")] = None


class TopicsSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "TOPICS_"

    file: Annotated[
        str | None, Meta(description="File that declares the topics, instead of schemas/topics.toml of the release")
    ] = None


class ConnectSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "CONNECT_"

    url: Annotated[str, Meta(description="Address of Kafka Connect's REST interface")]
    connector: Annotated[str, Meta(description="Name of the outbox connector")] = "medialane-outbox"
    database_url: Annotated[
        str | None,
        Meta(description="Postgres address of the replication role, as Connect reaches it; needed to register"),
    ] = None
    slot: Annotated[str, Meta(description="Name of the replication slot")] = "medialane_outbox"
    username: Annotated[str | None, Meta(description="Basic auth user of Connect's REST interface")] = None
    password: Annotated[str | None, Meta(description="Basic auth password of Connect's REST interface")] = None
    tls_ca_file: Annotated[str | None, Meta(description="PEM file of the CA that signed Connect's certificate")] = None
    poll_interval_ms: Annotated[int, Meta(ge=1, description="How often the connector looks for new rows, ms")] = 5


class ObjectStoreSettings(Settings, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "S3_"

    endpoint: Annotated[str, Meta(description="Address of the S3 server as workers reach it")]
    public_endpoint: Annotated[
        str | None, Meta(description="Address of the S3 server as upload clients reach it; the endpoint if unset")
    ] = None
    bucket: Annotated[str, Meta(description="Bucket that holds uploads and variants")]
    access_key: Annotated[str, Meta(description="S3 access key id")]
    secret_key: Annotated[str, Meta(description="S3 secret key")]
    region: Annotated[str, Meta(description="S3 region")] = "us-east-1"
    tls_ca_file: Annotated[str | None, Meta(description="PEM file of the CA that signed the S3 certificate")] = None
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
