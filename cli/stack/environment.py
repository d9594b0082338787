"""The `MEDIALANE_*` variables of a stack: for its processes, and for a shell that sources its `env` file."""

import shlex
from collections.abc import Mapping

from cli.stack.layout import Layout
from cli.stack.ports import broker_door, broker_names
from cli.stack.state import Secrets, write_private

HOST = "127.0.0.1"
DATABASE = "medialane"
BUCKET = "medialane"
ADMIN = "medialane"  # the cluster's first role: owns databases, runs migrations


def database_url(ports: Mapping[str, int], role: str, password: str, database: str = DATABASE) -> str:
    """A Postgres address under one role."""
    return f"postgresql://{role}:{password}@{HOST}:{ports['postgres']}/{database}?sslmode=disable"


def brokers(ports: Mapping[str, int]) -> str:
    """The brokers' addresses as clients find them, comma separated."""
    return ",".join(f"{HOST}:{broker_door(ports, name)}" for name in broker_names(ports))


def variables(ports: Mapping[str, int], secrets: Secrets, layout: Layout) -> dict[str, str]:
    """Every variable of the stack, as tools and workers take them (the database under the worker role)."""
    return {
        "MEDIALANE_DATABASE_URL": database_url(ports, "medialane_worker", secrets.worker_password),
        "MEDIALANE_MIGRATION_DATABASE_URL": database_url(ports, ADMIN, secrets.postgres_password),
        "MEDIALANE_KAFKA_BROKERS": brokers(ports),
        "MEDIALANE_CONNECT_URL": f"http://{HOST}:{ports['connect']}",
        "MEDIALANE_CONNECT_DATABASE_URL": database_url(ports, "medialane_replication", secrets.replication_password),
        "MEDIALANE_S3_ENDPOINT": f"http://{HOST}:{ports['s3']}",
        "MEDIALANE_S3_BUCKET": BUCKET,
        "MEDIALANE_S3_ACCESS_KEY": secrets.s3_access_key,
        "MEDIALANE_S3_SECRET_KEY": secrets.s3_secret_key,
        "MEDIALANE_API_HOST": HOST,
        "MEDIALANE_API_PORT": str(ports["api"]),
        "MEDIALANE_URL": f"http://{HOST}:{ports['api']}",  # for `medialane upload` and `assets`
        "MEDIALANE_WEBHOOK_ENCRYPTION_KEY": secrets.webhook_encryption_key,
        "MEDIALANE_MEDIA_SIGNING_KEY": secrets.media_signing_key,
        # Receivers of a local stack are local, too.
        "MEDIALANE_WEBHOOK_ALLOW_PRIVATE": "true",
        "MEDIALANE_PULL_ALLOW_PRIVATE": "true",
        "MEDIALANE_PULL_TEMP_DIR": str(layout.temp),
        "MEDIALANE_WORKER_TEMP_DIR": str(layout.temp),
    }


def process_variables(
    name: str, ports: Mapping[str, int], secrets: Secrets, layout: Layout, overrides: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The variables of one of Medialane's own processes. `media-images@2` is a second one, on a free metrics port."""
    kind, _, copy = name.partition("@")
    own = {
        "MEDIALANE_TELEMETRY_METRICS_HOST": HOST,
        "MEDIALANE_TELEMETRY_METRICS_PORT": "0" if copy else str(ports[kind]),
        "MEDIALANE_SHUTDOWN_DRAIN_TIMEOUT": "8",
        "MEDIALANE_WORKER_TEMP_DIR": str(layout.temp / name),
        "MEDIALANE_PROCESSOR_NICE": "15",  # behind the workers, which stand back here themselves
    }
    if kind == "api":
        own["MEDIALANE_DATABASE_URL"] = database_url(ports, "medialane_app", secrets.app_password)
        own["MEDIALANE_TELEMETRY_METRICS_PORT"] = "0"
    return variables(ports, secrets, layout) | own | dict(overrides or {})


def write_env_file(layout: Layout, ports: Mapping[str, int], secrets: Secrets) -> None:
    """Write the file that a shell can source; readable by its owner only."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables(ports, secrets, layout).items()]
    write_private(layout.env, "".join(lines).encode())
