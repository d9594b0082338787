"""Reading assets and keeping webhooks, over HTTP."""

import base64
import json
from datetime import UTC, datetime

import aiohttp
import pytest
from support import media
from support.api import ENCRYPTION_KEY, PHOTO
from yarl import URL

from connectors.secrets import SecretBox
from schemas.ids import uuid7


async def test_an_asset_shows_its_state_jobs_and_timeline(caller):
    asset_id = await caller.upload(name="beach day.jpg")
    await caller.call("POST", f"/api/v1/assets/{asset_id}/complete")
    status, answer, _ = await caller.call("GET", f"/api/v1/assets/{asset_id}")
    asset = answer["data"]
    assert status == 200
    assert (asset["id"], asset["state"], asset["kind"], asset["fileName"]) == (
        asset_id, "uploaded", "image", "beach day.jpg",
    )  # fmt: skip
    assert [(event["seq"], event["type"], event["subject"]) for event in asset["timeline"]] == [
        (1, "asset.created", ""), (2, "asset.uploaded", ""), (3, "job.starting", "image.primary"),
    ]  # fmt: skip
    assert [(job["stage"], job["state"], job["steps"]) for job in asset["jobs"]] == [("image.primary", "queued", [])]
    assert asset["variants"] == []


async def test_a_finished_asset_shows_its_report_and_signed_variants(caller, operator):
    presigned = await caller.presign()
    await caller.put(presigned, PHOTO)
    asset_id = presigned["assetId"]
    await caller.call("POST", f"/api/v1/assets/{asset_id}/complete")
    report = {"cpu_s": 0.5, "stages": [{"name": "download", "started_at_unix": 1_700_000_000.5, "seconds": 0.25}]}
    await media.add(operator, caller, asset_id, media.thumbnail(presigned["objectPath"]))
    await operator.rows(
        "UPDATE jobs SET state = 'done', report = CAST(:report AS jsonb) WHERE asset_id = :id RETURNING id",
        id=asset_id,
        report=json.dumps(report),
    )
    asset = (await caller.call("GET", f"/api/v1/assets/{asset_id}"))[1]["data"]
    assert (asset["jobs"][0]["cpuS"], asset["jobs"][0]["attempts"]) == (0.5, 1)
    assert asset["jobs"][0]["steps"] == [
        {"name": "download", "startedAt": "2023-11-14T22:13:20.500000Z", "seconds": 0.25}
    ]
    shown = asset["variants"][0]
    assert (shown["profile"], shown["width"], shown["sha256"]) == ("thumbnail", 256, (b"v" * 32).hex())
    assert datetime.fromisoformat(shown["urlExpiresAt"]) > datetime.now(UTC)
    async with aiohttp.ClientSession() as session, session.get(URL(shown["url"], encoded=True)) as response:
        assert (response.status, await response.read()) == (200, PHOTO)


async def test_a_failed_asset_says_why(caller, operator):
    asset_id = await caller.upload()
    await operator.rows(
        "UPDATE assets SET state = 'failed', error_code = 'truncated', error_detail = 'It ends.' WHERE id = :id RETURNING id",
        id=asset_id,
    )
    asset = (await caller.call("GET", f"/api/v1/assets/{asset_id}"))[1]["data"]
    assert (asset["state"], asset["errorCode"], asset["errorDetail"]) == ("failed", "truncated", "It ends.")


async def pages(caller, query):
    cursor, seen = "", []
    while True:
        _, answer, _ = await caller.call("GET", f"/api/v1/assets?{query}{cursor}")
        page = answer["data"]
        seen.append([item["id"] for item in page["items"]])
        if page["nextCursor"] is None:
            return seen
        cursor = f"&cursor={page['nextCursor']}"


async def test_pages_hold_every_asset_once_newest_first(caller, operator):
    made = [(await caller.presign())["assetId"] for _ in range(5)]
    # All of one moment: the id has to break the tie.
    await operator.rows("UPDATE assets SET created_at = now() WHERE tenant_id = :id RETURNING id", id=caller.tenant_id)
    assert await pages(caller, "limit=2") == [made[:2:-1], made[2:0:-1], made[:1]]
    assert await pages(caller, "limit=5") == [made[::-1]]
    assert await pages(caller, "limit=5&state=ready") == [[]]


async def test_a_page_stays_put_while_new_assets_come(caller):
    made = [(await caller.presign())["assetId"] for _ in range(4)]
    _, answer, _ = await caller.call("GET", "/api/v1/assets?limit=2")
    await caller.presign()
    _, rest, _ = await caller.call("GET", f"/api/v1/assets?limit=5&cursor={answer['data']['nextCursor']}")
    assert [item["id"] for item in rest["data"]["items"]] == made[1::-1]


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("correct horse", b"correct horse"),
        ("whsec_" + base64.b64encode(b"k" * 32).decode(), b"k" * 32),
        ("whsec_short", b"whsec_short"),
    ],
)
async def test_a_webhook_is_registered_once_shown_and_deleted(caller, operator, given, key):
    body = {"url": "https://example.com/hook", "events": ["asset.ready", "job.done", "job.done"], "secret": given}
    status, answer, _ = await caller.call("POST", "/api/v1/webhooks", body)
    made = answer["data"]
    assert (status, made["events"], made["enabled"]) == (201, ["asset.ready", "job.done"], True)
    assert base64.b64decode(made["secret"].removeprefix("whsec_")) == key
    stored = (await operator.rows("SELECT secret FROM webhook_endpoints WHERE id = :id", id=made["id"]))[0]["secret"]
    assert key not in bytes(stored)
    assert SecretBox(ENCRYPTION_KEY).open(bytes(stored)) == key
    listed = (await caller.call("GET", "/api/v1/webhooks"))[1]["data"]
    assert [(each["id"], "secret" in each) for each in listed] == [(made["id"], False)]
    assert (await caller.call("DELETE", f"/api/v1/webhooks/{made['id']}"))[0] == 200
    assert (await caller.call("DELETE", f"/api/v1/webhooks/{made['id']}"))[0] == 404
    assert (await caller.call("GET", "/api/v1/webhooks"))[1]["data"] == []


async def test_a_webhook_without_a_secret_gets_one(caller):
    body = {"url": "https://example.com/hook", "events": ["*"]}
    secrets = {(await caller.call("POST", "/api/v1/webhooks", body))[1]["data"]["secret"] for _ in range(2)}
    assert {len(base64.b64decode(secret.removeprefix("whsec_"))) for secret in secrets} == {32}
    assert len(secrets) == 2


async def test_an_unknown_asset_is_not_there(caller):
    assert (await caller.call("GET", f"/api/v1/assets/{uuid7()}"))[0] == 404
