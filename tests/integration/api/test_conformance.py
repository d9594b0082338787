"""The API against its own description: schemathesis asks every operation what it must and must not answer."""

import asyncio
import json
import os
import subprocess
import sys
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from support import api, media

pytestmark = pytest.mark.stack
EXAMPLES = 8
BOUND_S = 300
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "missing_required_header", "unsupported_method",
    "ignored_auth",
)  # fmt: skip


@pytest.fixture(scope="module")
def signer():
    return ed25519.Ed25519PrivateKey.generate()


@pytest.fixture(scope="module")
def server(database, bucket, kafka, signer, tmp_path_factory):
    jwks = tmp_path_factory.mktemp("jwks") / "jwks.json"
    public = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(signer.public_key())) | {"kid": "1", "use": "sig"}
    jwks.write_text(json.dumps({"keys": [public]}))
    told = {
        "MEDIALANE_KAFKA_BROKERS": kafka.brokers, "MEDIALANE_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
        "MEDIALANE_AUTH_JWKS": str(jwks), "MEDIALANE_AUTH_ISSUER": "issuer", "MEDIALANE_AUTH_AUDIENCE": "medialane",
    }  # fmt: skip
    with api.running(api.environment(database, bucket) | told) as started:
        yield started


@pytest.fixture
async def tenant(operator):
    made = await operator.tenant()
    await operator.rows("UPDATE tenants SET plan = 'unlimited' WHERE id = :id RETURNING id", id=made.id)
    return made


@pytest.fixture
def token(tenant, signer):
    """No API key: it would revoke that one, among others."""
    claims = {
        "iss": "issuer", "aud": "medialane", "sub": "tester", "tenant": tenant.slug, "scope": "admin",
        "exp": time.time() + 3600,
    }  # fmt: skip
    return jwt.encode(claims, signer, "EdDSA", {"kid": "1"})


@pytest.fixture
def caller(server, tenant, token, session):
    return api.Caller(server.address, tenant.id, token, session)


def ask(server, token, folder, *options):
    # In a child: its pytest plugin does not load. Whether all that fits the schemas is accepted is not asked: names of
    # sets, a tenant's room and what was done under an Idempotency-Key are known to no schema.
    asked = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"{server.address}/schema/openapi.json",
            "--header", f"Authorization: Bearer {token}", "--checks", ",".join(CHECKS), "--seed", "1",
            "--generation-deterministic", "--request-timeout", "30", "--continue-on-failure", "--no-color", *options,
        ],
        cwd=folder, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=BOUND_S, check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_every_answer_is_one_that_the_description_has(server, token, tmp_path):
    ask(server, token, tmp_path, "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES))


async def finished(caller, operator):
    """An asset with everything that an answer can hold."""
    presigned = await caller.presign()
    await caller.put(presigned)
    asset_id = presigned["assetId"]
    assert (await caller.call("POST", f"/api/v1/assets/{asset_id}/complete"))[0] == 200
    await media.add(operator, caller, asset_id, media.thumbnail(presigned["objectPath"]))
    report = {"cpu_s": 0.5, "stages": [{"name": "download", "started_at_unix": 1.5, "seconds": 0.25}]}
    await operator.rows(
        "UPDATE jobs SET state = 'done', report = CAST(:report AS jsonb) WHERE asset_id = :id RETURNING id",
        id=asset_id, report=json.dumps(report),
    )  # fmt: skip
    return asset_id


async def in_parts(caller, operator):
    body = {"filename": "film.mp4", "type": "video/mp4", "size": 9}
    return (await caller.call("POST", "/api/v1/uploads/s3/multipart", body))[1]["uploadId"]


@pytest.mark.parametrize(
    ("make", "found"), [(finished, "/api/v1/assets/{asset_id}"), (in_parts, "/api/v1/uploads/s3/multipart/{asset_id}")]
)
async def test_so_is_what_is_told_of_things_that_are_there(
    server, token, caller, operator, session, tmp_path, make, found
):
    hook = {"url": "https://example.com/hook", "events": ["*"]}
    endpoint = (await caller.call("POST", "/api/v1/webhooks", hook))[1]["data"]["id"]
    ids = {
        "asset_id": await make(caller, operator),
        "name": "thumbnail",
        "endpoint_id": endpoint,
        "delivery_id": await operator.delivery(endpoint, "delivered"),
        "key_id": str((await operator.key(caller.tenant_id)).id),
    }
    lines = [f'"path.{name}" = "{value}"' for name, value in ids.items()]
    (tmp_path / "schemathesis.toml").write_text("\n".join(["[parameters]", *lines, ""]))
    # A stream does not end, and what is gone answers no more.
    left_out = ("streamEvents", "deleteAsset", "abortMultipart")
    options = [word for name in left_out for word in ("--exclude-operation-id", name)]
    options += ["--phases", "examples,coverage", "--include-path-regex", "{"]
    await asyncio.to_thread(ask, server, token, tmp_path, *options)
    async with session.get(f"{server.address}/metrics") as response:
        metrics = await response.text()
    assert f'method="GET",route="{found}",status_class="2xx"' in metrics
