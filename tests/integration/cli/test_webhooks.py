"""`medialane webhooks`, as operators and developers use it."""

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import psycopg
import pytest
from support import api, commands
from support.processes import end

from connectors.secrets import SecretBox
from schemas.ids import uuid7
from streams.webhooks.signing import signed_headers

HOOK = {"url": "https://example.com/hook", "events": ["*"]}


@pytest.fixture
def medialane(database):
    return partial(commands.medialane, {"MEDIALANE_DATABASE_URL": database.worker}, "webhooks")


class Tenant:
    """A tenant with an endpoint, and what was sent to it."""

    def __init__(self, operator, tenant):
        self.operator, self.id, self.slug, self.endpoint = operator, tenant.id, tenant.slug, uuid7()

    async def create(self):
        await self.operator.rows(
            "INSERT INTO webhook_endpoints (id, tenant_id, url, secret, events)"
            " VALUES (:id, :tenant, 'https://example.com/hook', '\\x00', '{*}') RETURNING id",
            id=self.endpoint, tenant=self.id,
        )  # fmt: skip

    async def sent(self, state):
        return await self.operator.delivery(
            self.endpoint, state, outcome="timeout", status=None, said="no\x1b[2J answer"
        )

    async def states(self):
        rows = await self.operator.rows(
            "SELECT state FROM webhook_deliveries WHERE tenant_id = :id ORDER BY event_id", id=self.id
        )
        return [row["state"] for row in rows]

    async def acts(self):
        rows = await self.operator.rows("SELECT action FROM audit_log WHERE tenant_id = :id ORDER BY at", id=self.id)
        return [row["action"] for row in rows]


@pytest.fixture
async def tenant(operator):
    made = Tenant(operator, await operator.tenant())
    await made.create()
    return made


async def test_operators_see_whose_receiver_is_behind_and_what_it_answers(medialane, tenant, operator):
    quiet = Tenant(operator, await operator.tenant())
    await quiet.create()
    dead, waiting = await tenant.sent("dead"), await tenant.sent("waiting")
    behind = medialane("ls", "--behind")
    assert behind.returncode == 0, behind.stderr
    assert f"{tenant.endpoint}  {tenant.slug}  enabled  https://example.com/hook" in behind.stdout
    assert "1 wait, due since" in behind.stdout
    assert "1 dead; last: timeout no [2J answer" in behind.stdout
    assert quiet.slug not in behind.stdout
    assert quiet.slug in medialane("ls", "--tenant", quiet.slug).stdout
    listed = json.loads(medialane("deliveries", str(tenant.endpoint), "--state", "dead", "--json").stdout)
    assert [one["id"] for one in listed] == [str(dead)]
    shown = json.loads(medialane("show", str(waiting), "--json").stdout)
    assert (shown["delivery"]["state"], shown["attempts"][0]["outcome"]) == ("waiting", "timeout")
    assert json.loads(medialane("show", str(tenant.endpoint), "--json").stdout)["dead"] == 1
    assert "\x1b" not in medialane("show", str(dead)).stdout
    assert medialane("show", str(dead), "--tenant", quiet.slug).returncode == 1
    assert medialane("deliveries", str(tenant.endpoint), "--tenant", quiet.slug).returncode == 1


async def test_what_is_sent_again_is_said_first_and_noted(medialane, tenant):
    made = [str(await tenant.sent(state)) for state in ("dead", "delivered", "waiting")]
    tried = medialane("resend", *made, "--dry-run", "--json")
    assert tried.returncode == 1
    told = json.loads(tried.stdout)
    assert (told["sent"], list(told["refused"])) == (made[:2], made[2:])
    assert await tenant.states() == ["dead", "delivered", "waiting"]
    sent = medialane("resend", made[0])
    assert (sent.returncode, sent.stdout) == (0, f"is sent again: {made[0]}\n")
    assert await tenant.states() == ["waiting", "delivered", "waiting"]
    assert await tenant.acts() == ["webhook.resend"]


async def test_a_tenants_endpoints_are_recovered_in_batches(medialane, tenant, operator):
    other = Tenant(operator, await operator.tenant())
    await other.create()
    for one in (tenant, tenant, other):
        await one.sent("dead")
    assert medialane("recover", "--since", "1h").returncode == 2
    counted = medialane("recover", "--tenant", tenant.slug, "--since", "1h", "--dry-run", "--json")
    assert [(one["endpoint_id"], one["deliveries"]) for one in json.loads(counted.stdout)] == [
        (str(tenant.endpoint), 2)
    ]
    assert await tenant.states() == ["dead", "dead"]
    done = medialane("recover", "--tenant", tenant.slug, "--since", "1h")
    assert done.stdout == f"{tenant.endpoint}  {tenant.slug}  https://example.com/hook  2 are sent again\n"
    assert (await tenant.states(), await other.states()) == (["waiting", "waiting"], ["dead"])
    assert await tenant.acts() == ["webhook.recover"]
    await operator.rows("UPDATE webhook_endpoints SET enabled = false WHERE id = :id RETURNING id", id=other.endpoint)
    refused = medialane("recover", str(other.endpoint), "--since", "1h")
    assert (refused.returncode, "left alone: Nothing is sent to this endpoint." in refused.stderr) == (1, True)


@pytest.fixture
def disabled_after_a_batch(database):
    """Endpoints are disabled as soon as something was sent again to them."""
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("""
            CREATE FUNCTION disable() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                UPDATE webhook_endpoints SET enabled = false, disabled_reason = '410' WHERE id::text = NEW.subject;
                RETURN NEW;
            END $$;
            CREATE TRIGGER disable BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION disable();
        """)
        yield
        owner.execute("DROP TRIGGER disable ON audit_log; DROP FUNCTION disable()")


async def test_what_was_sent_again_before_it_is_refused_is_said_with_that(
    medialane, tenant, operator, disabled_after_a_batch
):
    for options in (), ("--json",):
        await tenant.sent("dead")
        await operator.rows(
            """
            INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload, state,
                attempts, finished_at)
            SELECT gen_random_uuid(), tenant_id, endpoint_id, (left(event_id::text, 23) || '-' || lpad(i::text, 12, '0'))::uuid,
                event_type, asset_id, 1, payload, 'dead', 1, now()
            FROM webhook_deliveries, generate_series(1, 1001) AS i WHERE endpoint_id = :id AND state = 'dead' RETURNING id
            """,
            id=tenant.endpoint,
        )
        done = medialane("recover", "--tenant", tenant.slug, "--since", "1h", *options)
        assert done.returncode == 1
        assert f"{tenant.endpoint}  then left alone: Nothing is sent to this endpoint. 410\n" in done.stderr
        if options:
            ((told),) = json.loads(done.stdout)
            assert (told["deliveries"], told["refused"]) == (1000, "Nothing is sent to this endpoint. 410")
        else:
            assert done.stdout == f"{tenant.endpoint}  {tenant.slug}  https://example.com/hook  1000 are sent again\n"
        assert (await tenant.states()).count("waiting") == 1000
        await operator.rows("DELETE FROM webhook_deliveries WHERE tenant_id = :id RETURNING id", id=tenant.id)
        await operator.rows(
            "UPDATE webhook_endpoints SET enabled = true WHERE id = :id RETURNING id", id=tenant.endpoint
        )


@asynccontextmanager
async def listening(address, key, *options):
    """The command as it runs; killed at the end if it still does."""
    env = {"PATH": os.environ["PATH"], "MEDIALANE_URL": address, "MEDIALANE_API_KEY": key}
    command = [sys.executable, "-P", "-m", "cli.main", "webhooks", "listen", *options]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        await end(process)


async def test_a_developer_sees_what_comes_and_leaves_nothing_behind(database, bucket, operator, session):
    env = api.environment(database, bucket) | {"MEDIALANE_WEBHOOK_ALLOW_PRIVATE": "true"}
    with api.running(env) as server:
        tenant = await operator.tenant()
        caller = api.Caller(server.address, tenant.id, (await operator.key(tenant.id)).text, session)
        async with (
            listening(server.address, caller.key, "--events", "asset.failed,asset.ready") as process,
            asyncio.timeout(120),
        ):
            said = (await process.stderr.readline()).decode()
            assert said.startswith("listening as http://127.0.0.1:"), said + (await process.stderr.read()).decode()
            (row,) = await operator.rows(
                "SELECT url, secret, events FROM webhook_endpoints WHERE tenant_id = :id", id=tenant.id
            )
            assert row["events"] == ["asset.failed", "asset.ready"]
            secret = SecretBox(api.ENCRYPTION_KEY).open(bytes(row["secret"]))
            event, now = uuid7(), datetime.now(UTC).isoformat()
            data = {"type": "asset.failed", "asset_id": "a1", "timestamp": now, "data": {"code": "truncated"}}
            body = json.dumps(data).encode()
            for key in (secret, b"another's"):
                headers = signed_headers(key, event_id=event, timestamp=int(time.time()), body=body)
                async with session.post(row["url"], data=body, headers=headers) as answer:
                    assert answer.status == 200
            told = [(await process.stdout.readline()).decode() for _ in range(2)]
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0, (await process.stderr.read()).decode()
        assert told[0].split() == ["asset.failed", "a1", "failed", "(truncated)", "signature", "holds"]
        assert told[1].startswith("refused: asset.failed: webhook-signature does not hold")
        assert (await caller.call("GET", "/api/v1/webhooks"))[1]["data"] == []


async def test_a_service_that_refuses_private_addresses_is_explained(server, operator):
    tenant = await operator.tenant()
    async with listening(server.address, (await operator.key(tenant.id)).text) as process, asyncio.timeout(120):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert b"The service does not send to http://127.0.0.1:" in said
    assert b"MEDIALANE_WEBHOOK_ALLOW_PRIVATE=true" in said
    assert b"Traceback" not in said
