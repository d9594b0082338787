"""What a tenant does with assets, to the end: signed again, posted as a form, completed together, changed, cancelled,
processed again, deleted and purged, found by what they are; and what the audit log says of it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from support import media, protocol
from support.api import PHOTO
from support.objects import client_of

from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres.protocol.replay import MOST_GENERATIONS
from connectors.telemetry.metrics import Metrics
from schemas.ids import uuid7
from schemas.records import Dispatch
from schemas.settings import KeeperSettings
from schemas.states import Stage
from streams.keeper.purging import Purging

ASSETS = "/api/v1/assets"


async def audited(operator, subject):
    rows = await operator.rows(
        "SELECT action, actor, detail FROM audit_log WHERE subject = :subject ORDER BY at", subject=str(subject)
    )
    assert {row["actor"].partition(":")[0] for row in rows} <= {"key", "keeper"}
    return [(row["action"], row["detail"]) for row in rows]


async def state_of(caller, asset_id):
    status, answer, _ = await caller.call("GET", f"{ASSETS}/{asset_id}")
    return answer["data"]["state"] if status == 200 else status


async def complete(caller, asset_id):
    status, answer, _ = await caller.call("POST", f"{ASSETS}/{asset_id}/complete")
    assert status == 200, answer


async def test_an_expired_address_is_signed_again_and_takes_the_same_bytes(caller, operator):
    made = await caller.presign()
    await operator.rows(
        "UPDATE assets SET upload_expires_at = now() - interval '1 hour' WHERE id = :id RETURNING id",
        id=made["assetId"],
    )
    status, answer, _ = await caller.call("POST", f"{ASSETS}/{made['assetId']}/upload", {})
    again = answer["data"]
    assert (status, again["assetId"], again["objectPath"]) == (200, made["assetId"], made["objectPath"])
    open_again = await operator.rows(
        "SELECT upload_expires_at > now() AS open FROM assets WHERE id = :id", id=made["assetId"]
    )
    assert open_again[0]["open"]
    assert await caller.put(again, b"other bytes") in {400, 403}
    assert await caller.put(again) == 200
    await complete(caller, made["assetId"])
    status, answer, _ = await caller.call("POST", f"{ASSETS}/{made['assetId']}/upload", {})
    assert (status, answer["code"]) == (409, "conflict")


async def post(presigned, data):
    form = aiohttp.FormData()
    for name, value in presigned["fields"].items():
        form.add_field(name, value)
    form.add_field("file", data, filename="photo.jpg", content_type="image/jpeg")
    async with aiohttp.ClientSession() as session, session.post(presigned["uploadUrl"], data=form) as response:
        return response.status


@pytest.mark.parametrize("again", [False, True])
async def test_a_form_is_posted_to_the_store(caller, again):
    body = {"fileName": "photo.jpg", "contentType": "image/jpeg", "size": 5, "method": "POST"}
    presigned = (await caller.call("POST", "/api/v1/storage/presign", body))[1]["data"]
    if again:
        answer = (await caller.call("POST", f"{ASSETS}/{presigned['assetId']}/upload", {"method": "POST"}))[1]
        presigned = answer["data"]
    assert presigned["method"] == "POST"
    assert await post(presigned, b"too many bytes") in {400, 403}
    assert await post(presigned, PHOTO) in {200, 201, 204}
    await complete(caller, presigned["assetId"])
    assert await state_of(caller, presigned["assetId"]) == "uploaded"


async def test_many_are_completed_each_by_itself(caller, operator):
    good = [await caller.upload() for _ in range(3)]
    missing, unknown = (await caller.presign())["assetId"], str(uuid7())
    wanted = [good[0], missing, good[1], unknown, good[2], good[0]]
    status, answer, _ = await caller.call("POST", f"{ASSETS}/complete", {"assetIds": wanted})
    assert status == 200
    assert [(one["assetId"], one["status"], one.get("code")) for one in answer["data"]] == [
        (good[0], "success", None), (missing, "error", "upload_missing"), (good[1], "success", None),
        (unknown, "error", "not_found"), (good[2], "success", None),
    ]  # fmt: skip
    jobs = await operator.rows("SELECT asset_id FROM jobs WHERE tenant_id = :id", id=caller.tenant_id)
    assert sorted(str(job["asset_id"]) for job in jobs) == sorted(good)
    assert await state_of(caller, missing) == "pending"


async def test_metadata_and_tags_are_replaced_one_without_the_other(caller, operator):
    body = {"fileName": "a.jpg", "contentType": "image/jpeg", "size": 5, "metadata": {"album": "old"}, "tags": ["sea"]}
    asset_id = (await caller.call("POST", "/api/v1/storage/presign", body))[1]["data"]["assetId"]
    for change, metadata, tags in (
        ({"metadata": {"album": "new", "by": "me"}}, {"album": "new", "by": "me"}, ["sea"]),
        ({"tags": ["sky", "sky", "sun"]}, {"album": "new", "by": "me"}, ["sky", "sun"]),
        ({"metadata": {}, "tags": []}, {}, []),
        ({}, {}, []),
    ):
        assert (await caller.call("PATCH", f"{ASSETS}/{asset_id}", change))[0] == 200
        asset = (await caller.call("GET", f"{ASSETS}/{asset_id}"))[1]["data"]
        assert (asset["metadata"], asset["tags"]) == (metadata, tags)
    assert await audited(operator, asset_id) == [], "one for each of as many as anybody asks for"


async def test_an_asset_says_by_whose_key_it_came(caller, operator):
    other = await operator.key(caller.tenant_id)
    parts = {"filename": "a.jpg", "type": "image/jpeg", "size": 5}
    for key in (caller.key, other.text):
        _, answer, _ = await caller.call("POST", "/api/v1/uploads/s3/multipart", parts, key=key)
        in_parts = answer["uploadId"]
        body = {"fileName": "a.jpg", "contentType": "image/jpeg", "size": 5}
        whole = (await caller.call("POST", "/api/v1/storage/presign", body, key=key))[1]["data"]["assetId"]
        for asset_id in (whole, in_parts):
            asset = (await caller.call("GET", f"{ASSETS}/{asset_id}"))[1]["data"]
            assert asset["createdBy"] == f"key:{key.split('_')[1]}"


async def test_the_audit_log_says_where_webhooks_go_and_keeps_no_address_that_may_be_a_secret(caller, operator):
    hook = {"url": "https://hooks.example.com/services/T0/s3cr3t?token=s3cr3t", "events": ["asset.ready"]}
    status, answer, _ = await caller.call("POST", "/api/v1/webhooks", hook)
    assert status == 201, answer
    noted = await audited(operator, answer["data"]["id"])
    assert noted == [("webhook.register", {"host": "hooks.example.com", "events": ["asset.ready"]})]


async def test_what_is_under_way_is_cancelled_once(caller, operator):
    asset_id = await caller.upload()
    assert (await caller.call("POST", f"{ASSETS}/{asset_id}/cancel"))[0] == 409
    await complete(caller, asset_id)
    assert (await caller.call("POST", f"{ASSETS}/{asset_id}/cancel"))[0] == 200
    asset = (await caller.call("GET", f"{ASSETS}/{asset_id}"))[1]["data"]
    assert (asset["state"], [job["state"] for job in asset["jobs"]]) == ("cancelled", ["cancelled"])
    assert asset["timeline"][-1]["type"] == "asset.cancelled"
    assert (await caller.call("POST", f"{ASSETS}/{asset_id}/cancel"))[1]["code"] == "conflict"
    assert await audited(operator, asset_id) == [("asset.cancel", {"state": "uploaded", "jobs": 1})]


async def ends(caller, operator, asset_id, ended):
    """Let a worker and its tenant bring an asset to this end, as they do; a ready one has a second job under way."""
    (row,) = await operator.rows("SELECT id FROM jobs WHERE asset_id = :id", id=asset_id)
    stage, sha256 = Stage.IMAGE_PRIMARY, uuid7().bytes * 2
    dispatch = Dispatch(
        job_id=row["id"], tenant_id=caller.tenant_id, asset_id=UUID(asset_id), stage=stage, dispatch=1
    )  # fmt: skip
    async with operator.database.transaction() as connection:
        job = await protocol.claim(connection, dispatch)
        await protocol.join(connection, job, sha256)
        if ended == "ready":
            await protocol.finish(connection, job, sha256, follow=[Stage.IMAGE_AVIF])
        elif ended == "failed":
            await protocol.fail(connection, job, sha256=sha256)
    if ended == "cancelled":
        assert (await caller.call("POST", f"{ASSETS}/{asset_id}/cancel"))[0] == 200


@pytest.mark.parametrize(
    ("ended", "jobs"),
    [
        ("ready", ["1 image.avif cancelled", "1 image.primary done"]),
        ("failed", ["1 image.primary failed"]),
        ("cancelled", ["1 image.primary cancelled"]),
    ],
)
async def test_what_has_ended_is_processed_again_once(caller, operator, ended, jobs):
    asset_id = await caller.upload()
    path = f"{ASSETS}/{asset_id}/process"
    assert (await caller.call("POST", path))[1]["code"] == "conflict"
    await complete(caller, asset_id)
    assert (await caller.call("POST", path))[1]["code"] == "conflict"
    await ends(caller, operator, asset_id, ended)
    assert await state_of(caller, asset_id) == ended
    first, again = [await caller.call("POST", path, headers={"Idempotency-Key": "once"}) for _ in range(2)]
    assert (first[0], first[1], again[2]["Idempotent-Replayed"]) == (200, again[1], "true")
    assert (await caller.call("POST", path))[1]["code"] == "conflict"
    asset = (await caller.call("GET", f"{ASSETS}/{asset_id}"))[1]["data"]
    assert (asset["state"], asset["generation"], asset["errorCode"]) == ("uploaded", 2, None)
    found = sorted(f"{job['generation']} {job['stage']} {job['state']}" for job in asset["jobs"])
    assert found == [*jobs, "2 image.primary queued"]
    assert [event["type"] for event in asset["timeline"][-2:]] == ["asset.reopened", "job.starting"]
    statement = "SELECT id, job_class FROM jobs WHERE asset_id = :id AND generation = 2"
    (job,) = await operator.rows(statement, id=asset_id)
    assert job["job_class"] == "secondary"
    noted = (await audited(operator, asset_id))[-1]
    assert noted == ("asset.process", {"state": ended, "job_id": str(job["id"])})


async def test_an_asset_is_processed_again_a_thousand_times_at_most(caller, operator):
    asset_id = await caller.upload()
    await complete(caller, asset_id)
    await ends(caller, operator, asset_id, "cancelled")
    opened = "UPDATE assets SET generation = :n WHERE id = :id RETURNING id"
    await operator.rows(opened, id=asset_id, n=MOST_GENERATIONS)
    status, answer, _ = await caller.call("POST", f"{ASSETS}/{asset_id}/process")
    assert (status, answer["code"]) == (403, "quota_exceeded")
    await operator.rows(opened, id=asset_id, n=MOST_GENERATIONS - 1)
    assert (await caller.call("POST", f"{ASSETS}/{asset_id}/process"))[0] == 200


async def test_what_is_deleted_is_gone_at_once_and_its_objects_after_the_purge(caller, operator, bucket):
    asset_id, kept = await caller.upload(), await caller.upload()
    await complete(caller, asset_id)
    variant_key = f"media/{caller.tenant_id}/{'cc' * 32}/thumbnail.v1.webp"
    client = client_of(bucket)
    client.put_object(Bucket=bucket.bucket, Key=variant_key, Body=b"12345")
    variant = media.thumbnail(variant_key, content_sha256=bytes.fromhex("cc" * 32))
    await media.add(operator, caller, asset_id, variant)

    def objects():
        prefixes = (f"uploads/{caller.tenant_id}/", f"media/{caller.tenant_id}/")
        found = [client.list_objects_v2(Bucket=bucket.bucket, Prefix=prefix) for prefix in prefixes]
        return {item["Key"].split("/")[2] for page in found for item in page.get("Contents", ())}

    assert (await caller.call("DELETE", f"{ASSETS}/{asset_id}"))[0] == 200
    assert await state_of(caller, asset_id) == 404
    assert (await caller.call("DELETE", f"{ASSETS}/{asset_id}"))[0] == 404
    items = (await caller.call("GET", ASSETS))[1]["data"]["items"]
    assert [item["id"] for item in items] == [kept]
    assert objects() == {asset_id, kept, "cc" * 32}

    async with S3ObjectStore(bucket) as store:
        purging = Purging(
            operator.database, store, KeeperSettings(), Metrics(CollectorRegistry(), process="keeper")
        )  # fmt: skip
        await purging.purge()
        assert objects() == {asset_id, kept, "cc" * 32}  # a lease may still be believed in
        await operator.rows(
            "UPDATE assets SET deleted_at = now() - interval '1 hour' WHERE id = :id RETURNING id", id=asset_id
        )
        await purging.purge()
    assert objects() == {kept}
    assert await audited(operator, asset_id) == [
        ("asset.delete", {"state": "uploaded", "jobs": 1}), ("asset.purge", {"objects": 2}),
    ]  # fmt: skip


async def test_lists_are_narrowed_by_every_filter(caller, operator):
    async def made(content_type, album, *tags):
        body = {
            "fileName": "a", "contentType": content_type, "size": 5, "metadata": {"album": album}, "tags": list(tags),
        }  # fmt: skip
        return (await caller.call("POST", "/api/v1/storage/presign", body))[1]["data"]["assetId"]

    old, film, sea = [
        await made("image/jpeg", "2025", "sea", "sun"), await made("video/mp4", "2026"),
        await made("image/png", "2026", "sea"),
    ]  # fmt: skip
    await operator.rows(
        "UPDATE assets SET created_at = now() - interval '2 days', state = 'failed' WHERE id = :id RETURNING id", id=old
    )
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for query, found in {
        "": [sea, film, old],
        "state=failed": [old],
        "type=video": [film],
        "tag=sea": [sea, old],
        "tag=sea&tag=sun": [old],
        "metadata=album:2026": [sea, film],
        f"createdFrom={yesterday}": [sea, film],
        f"createdTo={yesterday}": [old],
        "type=image&metadata=album:2026&tag=sea": [sea],
        "metadata=album:2024": [],
        "metadata=album:2025&metadata=album:2025": [old],
    }.items():
        items = (await caller.call("GET", f"{ASSETS}?{query}"))[1]["data"]["items"]
        assert [item["id"] for item in items] == found, query
    status, answer, _ = await caller.call("GET", f"{ASSETS}?metadata=album:2026&metadata=album:2025")
    assert (status, answer["code"], answer["field"]) == (400, "invalid_request", "metadata")
