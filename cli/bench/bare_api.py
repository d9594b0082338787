"""What a presign costs without any of ours: Litestar, two inserts by psycopg in one transaction, boto3's signature.

    python -m cli.bench.bare_api      # reads MEDIALANE_DATABASE_* and MEDIALANE_S3_*, prints its address, serves

No key, limit, quota, trace or metric. The inserts are those of an announced upload: an asset and its outbox row.
It ends with its standard input.
"""

import asyncio
import os
import socket
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import boto3
import sqlalchemy as sa
import uvloop
from botocore.config import Config
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from litestar import Litestar, post

from cli.bench.lifeline import end_with_caller
from cli.stack.parts.base import listening
from connectors.postgres.database import Database
from schemas.events import AssetCreated, encode_event
from schemas.ids import uuid7
from schemas.settings import DatabaseSettings, ObjectStoreSettings, load
from schemas.topics import EVENTS

_TENANT = sa.text("SELECT id FROM tenants ORDER BY created_at DESC LIMIT 1")
_ASSET = sa.text("""
    INSERT INTO assets (id, tenant_id, state, kind, file_name, content_type, size, object_key, event_seq)
    VALUES (:id, :tenant, 'pending', 'image', :name, :type, :size, :key, 1)
""")
_OUTBOX = sa.text("""
    INSERT INTO outbox (id, aggregatetype, aggregateid, kkey, tenant_id, type, seq, payload)
    VALUES (:id, :route, :key, :key, :tenant, :type, 1, :payload)
""")


def _created(tenant: UUID, asset: UUID, data: dict[str, Any]) -> dict[str, object]:
    event = AssetCreated(
        id=uuid7(), time=datetime.now(UTC), tenant_id=tenant, asset_id=asset, generation=1, seq=1,
        file_name=data["fileName"], content_type=data["contentType"], size=data["size"],
    )  # fmt: skip
    return {
        "id": event.id, "route": EVENTS.route, "key": str(asset), "tenant": str(tenant), "type": event.event_type,
        "payload": encode_event(event).decode(),
    }  # fmt: skip


def _application(database: Database, store: ObjectStoreSettings, tenant: UUID) -> Litestar:
    client = boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name=store.region,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )

    @post("/presign", status_code=200)
    async def presign(data: dict[str, Any]) -> dict[str, str]:
        asset, key = uuid7(), f"uploads/bench/{uuid7()}"
        values = {"name": data["fileName"], "type": data["contentType"], "size": data["size"], "key": key}
        async with database.transaction() as connection:
            await connection.execute(_ASSET, {"id": asset, "tenant": tenant, **values})
            await connection.execute(_OUTBOX, _created(tenant, asset, data))
        wanted = {"Bucket": store.bucket, "Key": key, "ContentType": data["contentType"], "ContentLength": data["size"]}
        return {"uploadUrl": client.generate_presigned_url("put_object", Params=wanted), "assetId": str(asset)}

    return Litestar([presign], openapi_config=None, logging_config=None)


async def _serve() -> None:
    settings, store = load(DatabaseSettings, os.environ), load(ObjectStoreSettings, os.environ)
    async with Database(settings, application="bench-bare") as database:
        async with database.transaction() as connection:
            tenant = (await connection.execute(_TENANT)).scalar_one()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = Server(
            _application(database, store, tenant), address="127.0.0.1", port=port, interface=Interfaces.ASGI,
            websockets=False, log_level=LogLevels.error,
        )  # fmt: skip
        serving = asyncio.create_task(server.serve())
        end_with_caller(lambda: os._exit(0))
        while not await listening(port):  # noqa: ASYNC110 - a port has no event
            await asyncio.sleep(0.05)
        print(f"http://127.0.0.1:{port}", flush=True)
        await serving


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
