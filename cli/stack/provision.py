"""What a running infrastructure needs before Medialane can use it: tables, passwords, topics, the connector."""

import asyncio

import psycopg
from psycopg import sql

import migrations
from cli.stack.canary import send_canary, slot_active
from cli.stack.environment import variables
from cli.stack.errors import StackError
from cli.stack.parts import Context
from cli.stack.ports import broker_names
from connectors.debezium import ConnectClient, ConnectError, connector_config
from connectors.kafka.admin import TopicAdmin
from connectors.postgres.database import Database
from connectors.postgres.placement.placements import confirm_partitions
from schemas.settings import ConnectSettings, DatabaseSettings, KafkaSettings, load
from schemas.topics import TOPICS, with_copies

_POLL_S = 0.1


class Provisioner:
    """Brings the parts of one stack to a known state; every step may be repeated."""

    def __init__(self, context: Context) -> None:
        env = variables(context.ports, context.secrets, context.layout)
        self._secrets = context.secrets
        self._admin_url = env["MEDIALANE_MIGRATION_DATABASE_URL"]
        self._kafka = load(KafkaSettings, env)
        self._connect = load(ConnectSettings, env)
        self._copies = len(broker_names(context.ports))

    async def migrate(self) -> None:
        """Bring the tables to this release and give the roles this stack's passwords."""
        await asyncio.to_thread(migrations.upgrade, self._admin_url)
        passwords = {
            "medialane_app": self._secrets.app_password,
            "medialane_worker": self._secrets.worker_password,
            "medialane_replication": self._secrets.replication_password,
        }
        async with await psycopg.AsyncConnection.connect(self._admin_url) as connection:
            for role, password in passwords.items():
                statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
                await connection.execute(statement)

    async def topics(self) -> None:
        """Make the topics, and record which partitions exist: the outbox may only name those."""
        counts = await TopicAdmin(self._kafka, topics=with_copies(TOPICS, self._copies)).apply()
        settings = DatabaseSettings(url=self._admin_url, pool_size=1)
        async with Database(settings, application="stack") as database, database.transaction() as connection:
            await confirm_partitions(connection, counts)

    async def register(self) -> None:
        """Register the outbox connector."""
        async with ConnectClient(self._connect) as client:
            config = connector_config(self._connect, replication_factor=self._copies)
            await client.register(self._connect.connector, config, wait_s=60)

    async def canary(self, *, timeout_s: float) -> float:
        """Wait until the connector holds its slot and a row has travelled; seconds that the row took.

        Raises `StackError` with the connector's own cause if it failed.
        """
        async with asyncio.timeout(timeout_s) as limit:
            try:
                while not await slot_active(self._admin_url, self._connect.slot):  # noqa: ASYNC110 - Postgres tells nobody
                    await asyncio.sleep(_POLL_S)
            except TimeoutError:
                raise await self._connector_error("the connector does not hold its replication slot") from None
            left = (limit.when() or 0.0) - asyncio.get_running_loop().time()
            limit.reschedule(None)
        try:
            return await send_canary(self._admin_url, self._kafka, timeout_s=left)
        except StackError as error:
            raise await self._connector_error(error.cause) from None

    async def connector_running(self) -> bool:
        """Whether the connector says that it runs, and holds its slot."""
        try:
            async with ConnectClient(self._connect, timeout_s=5) as client:
                status = await client.status(self._connect.connector)
            return status is not None and status.running and await slot_active(self._admin_url, self._connect.slot)
        except (ConnectError, psycopg.Error):
            return False

    async def _connector_error(self, symptom: str) -> StackError:
        try:
            async with ConnectClient(self._connect, timeout_s=5) as client:
                status = await client.status(self._connect.connector)
        except ConnectError as error:
            return StackError(f"{symptom}: {error}", "See the log of connect")
        cause = f": {status.cause}" if status is not None and status.cause else ""
        return StackError(f"{symptom}{cause}", "See the log of connect")
