"""An asset's events stay in order, on one partition, while its tenant is moved and split and the topic grows."""

import asyncio
import datetime as dt
import random
import time
from functools import partial

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition
from support.stack import outbox_connector

from connectors.kafka.admin import TopicAdmin
from connectors.kafka.options import client_options
from connectors.postgres import outbox
from connectors.postgres.accounts.tenants import create_tenant
from connectors.postgres.assets import lifecycle as assets
from connectors.postgres.database import Database
from connectors.postgres.placement import placements
from schemas.events import Variant, VariantReady, decode_event
from schemas.ids import uuid7
from schemas.settings import DatabaseSettings
from schemas.states import MediaKind
from schemas.topics import EVENTS, TOPICS, USAGE

pytestmark = pytest.mark.stack
ASSETS, ROUNDS, WRITERS, GROWN = 10, 30, 4, 12
BOUND_S = 90


async def create(worker, tenant_id):
    asset = assets.NewAsset(
        id=uuid7(),
        kind=MediaKind.IMAGE,
        file_name="a.jpg",
        content_type="image/jpeg",
        size=1,
        object_key=f"u/{uuid7()}",
        upload_expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
    )
    async with worker.transaction() as connection:
        await assets.create_assets(connection, tenant_id, [asset])
    return asset.id


async def emit(worker, asset_id, name):
    variant = Variant(
        profile=name, content_type="image/webp", width=1, height=1, size=1, sha256="0" * 64, object_key="k"
    )
    async with worker.transaction() as connection:
        await outbox.emit(connection, asset_id, [partial(VariantReady, variant=variant)], traceparent=None)


async def grow(worker, kafka):
    grown = [
        msgspec.structs.replace(topic, partitions=GROWN) if topic in (EVENTS, USAGE) else topic for topic in TOPICS
    ]
    counts = await TopicAdmin(kafka, topics=grown).apply()
    async with worker.transaction() as connection:
        await placements.confirm_partitions(connection, counts)


def read(kafka, count):
    """Every record of the events by partition, in order."""
    consumer = Consumer(client_options(kafka) | {"group.id": "order", "isolation.level": "read_committed"})
    name = EVENTS.name(kafka.topic_prefix)
    consumer.assign([TopicPartition(name, number, 0) for number in range(GROWN)])
    found, deadline = [], time.monotonic() + BOUND_S
    try:
        while len(found) < count and time.monotonic() < deadline:
            found += [message for message in consumer.consume(500, 0.5) if message.error() is None]
    finally:
        consumer.close()
    return found


async def test_events_stay_in_order_while_tenants_move_and_topics_grow(stack, database, kafka):
    source = random.Random(11)
    async with (
        Database(DatabaseSettings(url=database.worker, pool_size=8), application="test") as worker,
        outbox_connector(stack, database, kafka),
    ):
        async with worker.transaction() as connection:
            await placements.confirm_partitions(connection, {topic.route: topic.partitions for topic in TOPICS})
            tenants = [(await create_tenant(connection, f"order-{number}")).id for number in range(2)]
        made = [await create(worker, tenant) for tenant in tenants for _ in range(ASSETS)]
        writing = True

        async def write(number):
            for index in range(ROUNDS):
                for asset_id in source.sample(made, len(made)):
                    await emit(worker, asset_id, f"{number}-{index}")

        async def move():
            moves = 0
            while writing or moves < 10:
                counts = await _confirmed(worker)
                kparts = source.sample(range(counts["events"]), source.choice((1, 1, 3)))
                async with worker.transaction() as connection:
                    await placements.move(connection, source.choice(tenants), "events", kparts)
                moves += 1
                await asyncio.sleep(0.01)

        mover = asyncio.create_task(move())
        writers = asyncio.gather(*(write(number) for number in range(WRITERS)))
        await grow(worker, kafka)
        await writers
        writing = False
        await mover
        async with worker.transaction() as connection:
            await placements.move(connection, tenants[0], "events", [GROWN - 1])
        late = await create(worker, tenants[0])
        total = len(made) * (1 + ROUNDS * WRITERS) + 1
        records = await asyncio.to_thread(read, kafka, total)

    seen = {}
    for record in records:
        event = decode_event(record.value())
        seen.setdefault(event.asset_id, []).append((record.partition(), event.seq))
    assert len(records) == total
    for asset_id in made:
        assert [seq for _, seq in seen[asset_id]] == list(range(1, ROUNDS * WRITERS + 2)), "in order, without gaps"
        assert len({kpart for kpart, _ in seen[asset_id]}) == 1, "and on one partition"
    assert seen[late] == [(GROWN - 1, 1)], "a new asset is where its tenant is now, also on a new partition"


async def _confirmed(worker):
    async with worker.transaction() as connection:
        return await placements.confirmed_partitions(connection)
