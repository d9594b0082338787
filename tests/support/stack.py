"""One real stack for a whole test run, whatever the number of pytest workers, and isolation inside it.

Tests are kept apart by database, bucket and topic prefix, not by stacks: a stack costs seconds, a database tenths.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from psycopg import sql

import migrations
from cli.stack import Stack, StackError
from cli.stack.environment import database_url
from cli.stack.layout import layout
from connectors.debezium import ConnectClient, connector_config
from connectors.kafka.admin import TopicAdmin
from connectors.kafka.options import client_options
from schemas.settings import ConnectSettings, KafkaSettings, ObjectStoreSettings
from schemas.topics import TOPICS

_SLOTS_S = 30.0


@dataclass(frozen=True)
class Database:
    """Addresses of one migrated database under each role."""

    name: str
    owner: str
    app: str
    worker: str
    replication: str


def folder_for(controller: int) -> Path:
    """The folder of the stack that the tests share, in the run that the process `controller` leads.

    A developer's running stack is used if MEDIALANE_TEST_STACK names its folder.
    """
    developers = os.environ.get("MEDIALANE_TEST_STACK")
    return Path(developers) if developers else runs_own(controller)


def runs_own(controller: int, name: str = "") -> Path:
    """A folder for a stack that the run alone uses, and deletes at its end.

    Not under pytest's own temp folder, which only its owner may enter: Postgres runs as another user.
    """
    return Path(tempfile.gettempdir()) / f"medialane-test-{controller}{name and f'-{name}'}"


def acquire(folder: Path, controller: int, parts: tuple[str, ...]) -> Stack:
    """The run's stack with at least these parts; started by whoever asks first, tied to the controller's life."""
    with locked(folder):
        try:
            stack = Stack.attach(folder)
        except StackError:
            stack = Stack.start(folder, parts=parts, owner=controller)
            stack.detach()
        else:
            running = {name for name, part in stack.state.parts.items() if part.process is not None}
            if not set(parts) <= running:
                stack.ensure(parts)
        return stack


def release(folder: Path) -> None:
    """Stop the run's stacks (a suite may have one more, in FOLDER-name) and delete them; once, by the controller.

    `folder` is of `runs_own`: a developer's own stays as it is.
    """
    for found in (folder, *folder.parent.glob(f"{folder.name}-*")):
        files = layout(found)
        if not files.folder.is_dir():
            continue
        Stack(files).stop(quick=True)
        files.delete()
        shutil.rmtree(found, ignore_errors=True)  # with what is not the stack's, the lock of `locked`


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one worker of the run at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tests.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def fresh_database(stack: Stack) -> Iterator[Database]:
    """A migrated database of one's own; dropped afterwards, with the replication slots on it."""
    found = _addresses(stack, f"t_{secrets.token_hex(5)}")
    with locked(stack.folder):
        template = _make_template(stack)
        with _admin(stack) as connection:
            connection.execute(_sql("CREATE DATABASE {} TEMPLATE {}", found.name, template))
    try:
        yield found
    finally:
        with _admin(stack) as connection:
            _drop_slots(connection, found.name)
            connection.execute(_sql("DROP DATABASE IF EXISTS {} WITH (FORCE)", found.name))


@contextmanager
def fresh_bucket(stack: Stack) -> Iterator[ObjectStoreSettings]:
    """Settings of a bucket of one's own; emptied and deleted afterwards."""
    import boto3

    env = stack.env
    settings = ObjectStoreSettings(
        endpoint=env["MEDIALANE_S3_ENDPOINT"],
        bucket=f"t-{secrets.token_hex(5)}",
        access_key=env["MEDIALANE_S3_ACCESS_KEY"],
        secret_key=env["MEDIALANE_S3_SECRET_KEY"],
    )
    resource = boto3.resource(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
    )
    bucket = resource.create_bucket(Bucket=settings.bucket)
    try:
        yield settings
    finally:
        # Best effort: a test may have stopped the server, and the stack's data goes with the run anyway.
        with contextlib.suppress(Exception):
            bucket.objects.all().delete()
            bucket.delete()


@contextmanager
def fresh_topics(stack: Stack) -> Iterator[KafkaSettings]:
    """The whole topic table under a prefix of one's own; deleted afterwards."""
    settings = KafkaSettings(brokers=stack.env["MEDIALANE_KAFKA_BROKERS"], topic_prefix=f"t{secrets.token_hex(5)}")
    asyncio.run(TopicAdmin(settings).apply())
    try:
        yield settings
    finally:
        client = AdminClient(client_options(settings))
        for future in client.delete_topics([topic.name(settings.topic_prefix) for topic in TOPICS]).values():
            with contextlib.suppress(KafkaException):
                future.result(10)


@asynccontextmanager
async def outbox_connector(stack: Stack, database: Database, kafka: KafkaSettings) -> AsyncIterator[ConnectSettings]:
    """A connector of one's own from a database's outbox to the topics under a prefix; it holds its slot on entry."""
    name = f"outbox-{database.name}"
    settings = ConnectSettings(
        url=stack.env["MEDIALANE_CONNECT_URL"],
        connector=name,
        slot=f"outbox_{database.name}",
        database_url=database.replication,
    )
    async with ConnectClient(settings) as client:
        await client.register(name, connector_config(settings, topic_prefix=kafka.topic_prefix))
        try:
            await until_streaming(client, stack, settings)
            yield settings
        finally:
            await client.delete(name)


async def until_streaming(client: ConnectClient, stack: Stack, settings: ConnectSettings) -> None:
    """The connector holds its slot."""
    async with asyncio.timeout(60):
        while True:
            status = await client.status(settings.connector)
            assert status is None or not status.failed, status.cause
            with _admin(stack) as connection:
                slot = connection.execute(
                    "SELECT active FROM pg_replication_slots WHERE slot_name = %s", (settings.slot,)
                ).fetchone()
            if slot and slot[0]:
                return
            await asyncio.sleep(0.1)


def _make_template(stack: Stack) -> str:
    """A migrated database to copy, made once per state of the migrations; its name.

    This release's contract steps are still to come, as while it is rolled out: its code must do on those tables. The
    stacks of end-to-end tests have them all.
    """
    target = migrations.expanded_head()
    digest = hashlib.sha256(target.encode())
    for path in sorted((Path(migrations.__file__).parent / "versions").glob("*.*")):
        digest.update(path.read_bytes())
    template = f"template_{digest.hexdigest()[:12]}"
    with _admin(stack) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (template,)).fetchone():
            return template
        building = f"{template}_building"
        connection.execute(_sql("DROP DATABASE IF EXISTS {} WITH (FORCE)", building))
        connection.execute(_sql("CREATE DATABASE {}", building))
        migrations.upgrade(_addresses(stack, building).owner, target=target)
        connection.execute(_sql("ALTER DATABASE {} RENAME TO {}", building, template))
    return template


def _drop_slots(connection: psycopg.Connection, database: str) -> None:
    """Drop them; a connector that is just being deleted comes back to its slot once more, however often it is ended."""
    query = "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s"
    deadline = time.monotonic() + _SLOTS_S
    while (left := connection.execute(query, (database,)).fetchall()) and time.monotonic() < deadline:
        for slot, pid in left:
            if pid:
                connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            with contextlib.suppress(psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
                connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))


def _addresses(stack: Stack, name: str) -> Database:
    now = stack.state
    passwords = now.secrets
    return Database(
        name=name,
        owner=database_url(now.ports, "medialane", passwords.postgres_password, name),
        app=database_url(now.ports, "medialane_app", passwords.app_password, name),
        worker=database_url(now.ports, "medialane_worker", passwords.worker_password, name),
        replication=database_url(now.ports, "medialane_replication", passwords.replication_password, name),
    )


def _admin(stack: Stack) -> psycopg.Connection:
    return psycopg.connect(_addresses(stack, "postgres").owner, autocommit=True)


def _sql(text: str, *names: str) -> sql.Composed:
    return sql.SQL(text).format(*map(sql.Identifier, names))
