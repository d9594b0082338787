"""From a committed outbox row to the record that a consumer sees, through real Postgres, Debezium and Kafka."""

import asyncio
import time
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from support.connect import until
from support.stack import fresh_database, fresh_topics, outbox_connector, until_streaming

from cli.harness.onboarding import CommandError, medialane
from connectors.debezium import ConnectClient, Watchdog
from connectors.kafka.options import client_options
from connectors.postgres import outbox
from connectors.postgres.database import Database
from connectors.postgres.placement.placements import confirm_partitions
from connectors.telemetry.metrics import Metrics
from schemas.metrics import CONNECTOR_AHEAD
from schemas.settings import ConnectSettings, DatabaseSettings, variable
from schemas.topics import DEAD_LETTERS, EVENTS, TOPICS
from streams.keeper.position import ConnectorPosition

INSERT = """
    INSERT INTO outbox (id, aggregatetype, aggregateid, kkey, tenant_id, type, seq, kpart, payload, traceparent)
    VALUES (%s, 'events', 'asset-1', 'key-1', %s, 'asset.ready', %s, %s, %s, %s)
"""
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def read(kafka, count, *, topic=EVENTS, within=60.0):
    """The first `count` committed records of a topic, by any partition."""
    consumer = Consumer(
        {**client_options(kafka), "group.id": "test", "isolation.level": "read_committed", "enable.auto.commit": False}
    )
    name = topic.name(kafka.topic_prefix)
    consumer.assign([TopicPartition(name, number, 0) for number in range(topic.partitions)])
    found, deadline = [], time.monotonic() + within
    try:
        while len(found) < count and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                found.append(message)
    finally:
        consumer.close()
    return found


async def told(kafka, count):
    """The numbers of the first `count` events."""
    records = await asyncio.to_thread(read, kafka, count)
    return [int(dict(record.headers())["ce_seq"]) for record in records]


def variables(settings):
    """As an operator's command takes what it has to know of a connector."""
    return {variable(ConnectSettings, name): getattr(settings, name) for name in ("url", "connector")}


def insert(database, *, seq=None, kpart=None, tenant=None, payload="{}", trace=None):
    identifier = uuid4()
    with psycopg.connect(database.worker, autocommit=True) as connection:
        connection.execute(INSERT, (identifier, tenant, seq, kpart, payload, trace))
    return identifier


@pytest.fixture(scope="module")
def placed(database):
    """The module's database, with every partition confirmed: the outbox may name them."""
    confirm(database)
    return database


def confirm(database):
    async def confirming():
        settings = DatabaseSettings(url=database.owner)
        async with Database(settings, application="test") as opened, opened.transaction() as connection:
            await confirm_partitions(connection, {topic.route: topic.partitions for topic in TOPICS})

    asyncio.run(confirming())


@pytest.mark.stack
async def test_rows_arrive_as_they_were_written_also_those_from_before_the_connector(stack, placed, kafka):
    tenant = str(uuid4())
    before = insert(placed, seq=7, kpart=5, tenant=tenant, payload='{"a": "ä"}', trace=TRACE)
    async with outbox_connector(stack, placed, kafka):
        bare = insert(placed)
        records = await asyncio.to_thread(read, kafka, 2)
    by_id = {dict(record.headers())["ce_id"].decode(): record for record in records}
    assert set(by_id) == {str(before), str(bare)}

    full = by_id[str(before)]
    assert (full.key(), full.value(), full.partition()) == (b"key-1", '{"a": "ä"}'.encode(), 5)
    assert dict(full.headers()) == {
        "ce_specversion": b"1.0",
        "ce_source": b"medialane",
        "ce_id": str(before).encode(),
        "ce_type": b"asset.ready",
        "ce_subject": b"asset-1",
        "ce_tenantid": tenant.encode(),
        "ce_seq": b"7",
        "traceparent": TRACE.encode(),
    }
    nothing = dict(by_id[str(bare)].headers())
    assert (nothing["traceparent"], nothing["ce_seq"], nothing["ce_tenantid"]) == (None, None, None)


@pytest.fixture
def fresh(stack):
    """A database and topics that no connector has known yet: it begins with a snapshot."""
    with fresh_database(stack) as database, fresh_topics(stack) as topics:
        confirm(database)
        yield database, topics


@pytest.mark.stack
async def test_what_a_snapshot_reads_is_told_in_order_however_it_lies_in_the_table(stack, fresh):
    """Each connection fills a page of its own, so a later row may lie before an earlier one."""
    database, topics = fresh
    for seq in (5, 3, 11, 2, 9, 1, 4, 10, 7, 8, 6):
        insert(database, seq=seq, kpart=3)
    async with outbox_connector(stack, database, topics):
        assert await told(topics, 11) == list(range(1, 12))


@pytest.mark.stack
async def test_a_stopped_connector_goes_on_where_it_was_or_sends_all_again_the_older_first(stack, fresh):
    database, topics = fresh
    insert(database, seq=1, kpart=3)
    async with outbox_connector(stack, database, topics) as settings, ConnectClient(settings) as client:
        insert(database, seq=2, kpart=3)
        assert await told(topics, 2) == [1, 2]
        env = variables(settings)

        await medialane(env, "connector", "stop")
        assert (await client.status(settings.connector)).stopped
        with pytest.raises(CommandError, match="an operator stopped it"):
            await medialane(env, "connector", "status")
        assert (await Watchdog(client, settings.connector).look()).outcome == "stopped", "it is not ours to start it"
        insert(database, seq=3, kpart=3)
        await medialane(env, "connector", "start")
        assert await told(topics, 3) == [1, 2, 3]

        await medialane(env, "connector", "stop")
        insert(database, seq=4, kpart=3)
        await medialane(env, "connector", "resend")
        assert await told(topics, 7) == [1, 2, 3, 1, 2, 3, 4]


@pytest.mark.stack
async def test_a_connector_ahead_of_a_postgres_that_lost_its_log_is_noticed_and_sends_again_what_it_skipped(
    stack, fresh
):
    """As after a failover to a standby that was behind, or a restored volume: the slot is there, and valid."""
    database, topics = fresh
    metrics = Metrics(CollectorRegistry(), process="keeper")

    def asked(statement, *values):
        with psycopg.connect(database.owner, autocommit=True) as connection:
            return connection.execute(statement, values).fetchone()

    def end():
        return int(asked("SELECT (pg_current_wal_lsn() - '0/0')::bigint")[0])

    insert(database, seq=1, kpart=3)
    keepers = Database(DatabaseSettings(url=database.worker), application="test")
    async with (
        outbox_connector(stack, database, topics) as settings,
        ConnectClient(settings) as client,
        keepers as opened,
    ):
        name = settings.connector
        watch = ConnectorPosition(client, opened, metrics, connector=name, slot=settings.slot)

        async def ahead():
            await watch.look()
            return metrics.registry.get_sample_value(CONNECTOR_AHEAD.name)

        assert await told(topics, 1) == [1]
        async with asyncio.timeout(60):
            while await client.position(name, server=settings.slot) is None:  # noqa: ASYNC110 - Connect tells nobody
                await asyncio.sleep(0.1)
        assert await client.position(name, server="another") is None
        assert await ahead() == 0

        await client.stop(name)
        beyond = end() + (128 << 20)
        noted = {"lsn": beyond, "lsn_proc": beyond, "lsn_commit": beyond}
        offsets = [{"partition": {"server": settings.slot}, "offset": {**noted, "messageType": "INSERT", "txId": 1}}]
        await client._call("PATCH", f"/connectors/{name}/offsets", json={"offsets": offsets})
        insert(database, seq=2, kpart=3)
        await client.resume(name)
        await until_streaming(client, stack, settings)
        insert(database, seq=3, kpart=3)
        with capture_logs() as logs:
            assert await ahead() > 0
            assert await ahead() > 0
        assert [(log["log_level"], log["connector"]) for log in logs] == [("error", name)]

        while end() <= beyond:
            asked("SELECT pg_logical_emit_message(false, 'test', 'more'), pg_switch_wal()")
        insert(database, seq=4, kpart=3)
        assert await told(topics, 2) == [1, 4], "the log has passed the position, and what came before is skipped"
        assert await ahead() == 0

        env = variables(settings)
        await medialane(env, "connector", "resend")
        assert await told(topics, 6) == [1, 4, 1, 2, 3, 4]

        await medialane(env, "connector", "stop")
        insert(database, seq=5, kpart=3)
        async with asyncio.timeout(60):
            while asked("SELECT active FROM pg_replication_slots WHERE slot_name = %s", settings.slot)[0]:  # noqa: ASYNC110 - nor Postgres
                await asyncio.sleep(0.1)
        asked("SELECT pg_drop_replication_slot(%s)", settings.slot)
        await medialane(env, "connector", "resend")
        assert await told(topics, 11) == [1, 4, 1, 2, 3, 4, 1, 2, 3, 4, 5], "the cure of a slot that was lost, too"


@pytest.mark.stack
async def test_a_dead_letter_carries_kafkas_headers_and_ours_and_nothing_else_does(stack, placed, kafka):
    errors = outbox.ErrorHeaders(
        topic="media.jobs.image", kpart="3", koffset="77", group="media-media-images", deliveries="4",
        message="no, or 'maybe', ä", code="corrupt", attempts="2",
    )  # fmt: skip
    values = {"subject_id": "job-1", "key": "k", "tenant_id": None, "record_type": "job.dead", "payload": "{}"}
    settings = DatabaseSettings(url=placed.worker)
    async with Database(settings, application="test") as opened, opened.transaction() as connection:
        await outbox.write(connection, route=DEAD_LETTERS.route, errors=errors, **values)
        await outbox.write(connection, route=EVENTS.route, errors=errors, **values)
    async with outbox_connector(stack, placed, kafka):
        (letter,) = await asyncio.to_thread(read, kafka, 1, topic=DEAD_LETTERS)
        records = await asyncio.to_thread(read, kafka, 1)
    headers = dict(letter.headers())
    assert {name: value.decode() for name, value in headers.items() if name.startswith(("__dlq", "medialane_"))} == {
        "__dlq.errors.topic": "media.jobs.image",
        "__dlq.errors.partition": "3",
        "__dlq.errors.offset": "77",
        "__dlq.errors.group": "media-media-images",
        "__dlq.errors.delivery.count": "4",
        "__dlq.errors.message": "no, or 'maybe', ä",
        "medialane_code": "corrupt",
        "medialane_attempts": "2",
    }
    assert not [name for record in records for name, _ in record.headers() if name.startswith(("__dlq", "medialane_"))]


@pytest.mark.stack
async def test_a_connector_whose_task_has_failed_is_stopped_and_sends_all_again_too(stack, fresh):
    """What a lost slot or a lost topic leaves behind."""
    database, topics = fresh
    insert(database, seq=1, kpart=3)
    async with outbox_connector(stack, database, topics) as settings, ConnectClient(settings) as client:
        assert len(await asyncio.to_thread(read, topics, 1)) == 1
        with psycopg.connect(database.owner, autocommit=True) as connection:
            connection.execute("ALTER PUBLICATION medialane_outbox RENAME TO away")
        insert(database, seq=2, kpart=3)
        await until(client, settings.connector, lambda status: status.failed)
        env = variables(settings)
        await medialane(env, "connector", "stop")
        with psycopg.connect(database.owner, autocommit=True) as connection:
            connection.execute("ALTER PUBLICATION away RENAME TO medialane_outbox")
        await medialane(env, "connector", "resend")
        assert await told(topics, 3) == [1, 1, 2]
