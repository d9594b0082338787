"""A really running API process, tenants with keys, and a plain HTTP client that knows nothing of our own."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import aiohttp
import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from yarl import URL

from connectors.postgres.accounts.keys import mint_key, revoke_key
from connectors.postgres.accounts.plans import Plan, assign_plan, put_plan
from connectors.postgres.accounts.tenants import create_tenant
from connectors.postgres.database import Database
from connectors.postgres.idempotency import CLAIM_S
from connectors.postgres.placement.placements import confirm_partitions
from schemas.ids import uuid7
from schemas.scopes import DEFAULT_SCOPES
from schemas.settings import DatabaseSettings
from schemas.topics import TOPICS

ENCRYPTION_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SIGNING_KEY = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="
PHOTO = b"\xff\xd8\xff\xe0\0"
"""Five bytes that begin like a JPEG: all that complete looks at."""


def sealed_before(text):
    """As releases sealed it before keys had names."""
    nonce = os.urandom(12)
    return b"\x01" + nonce + AESGCM(base64.b64decode(ENCRYPTION_KEY)).encrypt(nonce, text, b"\x01")


_RUN = "import os; from api.server import run; run(os.environ)"


def environment(database, bucket, **change):
    """The variables of an API process on a database and a bucket."""
    return {
        "PATH": os.environ["PATH"],
        "MEDIALANE_DATABASE_URL": database.app,
        "MEDIALANE_S3_ENDPOINT": bucket.endpoint,
        "MEDIALANE_S3_BUCKET": bucket.bucket,
        "MEDIALANE_S3_ACCESS_KEY": bucket.access_key,
        "MEDIALANE_S3_SECRET_KEY": bucket.secret_key,
        "MEDIALANE_WEBHOOK_ENCRYPTION_KEY": ENCRYPTION_KEY,
        "MEDIALANE_MEDIA_SIGNING_KEY": SIGNING_KEY,
        "MEDIALANE_API_PORT": "0",
        "MEDIALANE_KAFKA_BROKERS": "127.0.0.1:1",  # nobody: what is told over Kafka is looked up in the database
    } | change


class Server:
    """A process that listens at `address`; `log` grows with every line that it writes."""

    def __init__(self, env):
        self.process = subprocess.Popen([sys.executable, "-c", _RUN], env=env, stderr=subprocess.PIPE)
        self.log = []
        self._listening = threading.Event()
        self.address = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.log.append(_parsed(line))
            if self.log[-1].get("event") == "listening":
                self.address = self.log[-1]["address"]
                self._listening.set()
        self._listening.set()

    def wait_until_listening(self):
        assert self._listening.wait(120), f"the API does not listen: {self.log}"
        assert self.address, f"the API did not start: {self.log}"

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        """The exit code, once everything that it wrote is in `log`."""
        code = self.process.wait(90)
        self._reader.join(10)
        return code


@contextlib.contextmanager
def running(env):
    """An API process of one's own, on a port that it finds itself."""
    server = Server(env)
    try:
        server.wait_until_listening()
        yield server
    finally:
        if server.process.poll() is None:
            server.terminate()
        server.wait()


def _parsed(line):
    try:
        return json.loads(line)
    except ValueError:
        return {"event": line.decode(errors="replace").rstrip()}


@dataclass
class Caller:
    """A tenant's plain HTTP client."""

    base: str
    tenant_id: UUID
    key: str
    session: aiohttp.ClientSession

    async def call(self, method, path, body=None, *, headers=None, key=None):
        """Returns (status, decoded body, headers)."""
        sent = {"Authorization": f"Bearer {self.key if key is None else key}"} | (headers or {})
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        async with self.session.request(method, self.base + path, data=data, headers=sent) as response:
            raw = await response.read()
            return response.status, json.loads(raw) if raw else None, response.headers

    async def presign(self, size=5, content_type="image/jpeg", name="photo.jpg"):
        body = {"fileName": name, "contentType": content_type, "size": size}
        status, answer, _ = await self.call("POST", "/api/v1/storage/presign", body)
        assert status == 200, answer
        return answer["data"]

    async def put(self, presigned, data=PHOTO, content_type="image/jpeg"):
        """As the reference's load client does: nothing but the content type is set."""
        address = URL(presigned["uploadUrl"], encoded=True)
        async with self.session.put(address, data=data, headers={"Content-Type": content_type}) as response:
            return response.status

    async def upload(self, **about):
        presigned = await self.presign(**about)
        assert await self.put(presigned) == 200
        return presigned["assetId"]


class Operator:
    """What an operator does, under the worker role."""

    def __init__(self, database):
        self.database = Database(DatabaseSettings(url=database.worker, pool_size=2), application="test")

    async def tenant(self):
        async with self.database.transaction() as connection:
            await confirm_partitions(connection, {topic.route: topic.partitions for topic in TOPICS})
            return await create_tenant(connection, f"t-{uuid7().hex[-12:]}")

    async def key(self, tenant_id, *, scopes=DEFAULT_SCOPES, expires_in_s=None):
        expires_at = None if expires_in_s is None else datetime.now(UTC) + timedelta(seconds=expires_in_s)
        async with self.database.transaction() as connection:
            return await mint_key(connection, tenant_id, scopes=scopes, expires_at=expires_at)

    async def slug(self, tenant_id):
        return (await self.rows("SELECT slug FROM tenants WHERE id = :id", id=tenant_id))[0]["slug"]

    async def put_on_plan(self, tenant_id, **limits):
        """Put a tenant on a plan of its own."""
        plan, slug = Plan(name=f"p-{uuid7().hex[-12:]}", **limits), await self.slug(tenant_id)
        async with self.database.transaction() as connection:
            await put_plan(connection, plan)
            await assign_plan(connection, slug, plan.name)

    async def outlive_claims(self, tenant_id):
        """Make the claims of a tenant's idempotency keys older than a claim may get."""
        await self.rows(
            "UPDATE idempotency_keys SET created_at = now() - :age * interval '1 second' WHERE tenant_id = :id RETURNING key",
            age=CLAIM_S + 1, id=tenant_id,
        )  # fmt: skip

    async def revoke(self, key):
        async with self.database.transaction() as connection:
            await revoke_key(connection, key.prefix)

    async def delivery(
        self,
        endpoint_id,
        state="dead",
        *,
        kind="asset.ready",
        asset_id=None,
        outcome="rejected",
        status=503,
        said="away",
    ):
        """What was sent to an endpoint, with one attempt that took two seconds; returns its id."""
        values = {
            "id": uuid7(), "endpoint": endpoint_id, "event": uuid7(), "kind": kind, "asset": asset_id or uuid7(),
            "state": state, "outcome": outcome, "status": status, "said": said,
        }  # fmt: skip
        await self.rows(
            """
            WITH made AS (
                INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload,
                    state, attempts, finished_at, due_at)
                SELECT :id, tenant_id, id, :event, :kind, :asset, 1, '{"type": "asset.ready", "data": {"seq": 1}}',
                    :state, 1, CASE WHEN :state IN ('dead', 'delivered') THEN now() END,
                    CASE WHEN :state = 'waiting' THEN now() END
                FROM webhook_endpoints WHERE id = :endpoint RETURNING id, tenant_id
            )
            INSERT INTO webhook_attempts (delivery_id, attempt, tenant_id, started_at, finished_at, outcome, status, response)
            SELECT id, 1, tenant_id, now() - interval '2 seconds', now(), :outcome, :status, :said FROM made
            RETURNING attempt
            """,
            **values,
        )
        return values["id"]

    async def rows(self, statement, **values):
        async with self.database.transaction() as connection:
            return (await connection.execute(sa.text(statement), values)).mappings().all()
