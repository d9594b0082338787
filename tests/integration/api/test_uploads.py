"""Presign, PUT, complete: over HTTP, on a real database and a real object store."""

import asyncio
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from support import protocol
from support.api import PHOTO
from support.locks import until_waited_for
from support.objects import client_of

from connectors.postgres.assets.abandoned import Abandoned, mark_abandoned
from connectors.postgres.protocol.cancel import delete_asset
from connectors.postgres.protocol.completing import Completed, complete_assets
from schemas.records import Dispatch
from schemas.states import Stage

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_the_reference_systems_own_flow(caller, operator):
    presigned = await caller.presign(size=5)
    assert set(presigned) == {
        "uploadUrl", "assetId", "method", "headers", "objectPath", "publicUrl", "expiresAt",
    }  # fmt: skip
    assert presigned["method"] == "PUT"
    assert isinstance(presigned["expiresAt"], int)
    assert presigned["publicUrl"].endswith(f"/{presigned['objectPath']}")
    assert await caller.put(presigned, PHOTO) == 200
    status, answer, _ = await caller.call("GET", f"/api/v1/assets/{presigned['assetId']}/complete")
    assert (status, answer) == (200, {"status": "success", "message": "Asset marked as uploaded"})
    rows = await operator.rows("SELECT state, etag FROM assets WHERE id = :id", id=presigned["assetId"])
    assert (rows[0]["state"], len(rows[0]["etag"])) == ("uploaded", 32)


@pytest.mark.parametrize(
    "name",
    [
        "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}.jpg",
        "\N{RAINBOW}\N{VARIATION SELECTOR-16} \N{REGIONAL INDICATOR SYMBOL LETTER D}\N{REGIONAL INDICATOR SYMBOL LETTER E}.jpg",
        "Cafe\N{COMBINING ACUTE ACCENT}.jpg",
        "\N{RIGHT-TO-LEFT MARK}\N{HEBREW LETTER ALEF}\N{HEBREW POINT QAMATS} \N{ARABIC LETTER MEEM}\N{ARABIC LETTER JEEM}.jpg",
        "\N{DEVANAGARI LETTER KA}\N{DEVANAGARI SIGN VIRAMA}\N{ZERO WIDTH NON-JOINER}\N{DEVANAGARI LETTER SSA}.jpg",
        "../a folder/..\\x.jpg",
        "Screenshot 2026-11-29 at 5.02\N{NARROW NO-BREAK SPACE}PM.png",
        '\N{SOFT HYPHEN}\N{ZERO WIDTH NO-BREAK SPACE}\N{LINE SEPARATOR}:*?"<>|.jpg',
    ],
)
async def test_a_file_may_be_called_what_a_phone_calls_it(caller, name):
    presigned = await caller.presign(name=name)
    assert await caller.put(presigned, PHOTO) == 200
    assert (await caller.call("POST", f"/api/v1/assets/{presigned['assetId']}/complete"))[0] == 200
    shown = (await caller.call("GET", f"/api/v1/assets/{presigned['assetId']}"))[1]["data"]
    assert shown["fileName"] == name


async def test_completes_at_once_make_one_job(caller, operator):
    asset_id = await caller.upload()
    answers = await asyncio.gather(
        *(caller.call(method, f"/api/v1/assets/{asset_id}/complete") for method in ["GET", "POST"] * 8)
    )
    assert {status for status, _, _ in answers} == {200}
    assert {answer["message"] for _, answer, _ in answers} == {"Asset marked as uploaded"}
    jobs = await operator.rows("SELECT id, state, dispatch, stage, topic FROM jobs WHERE asset_id = :id", id=asset_id)
    assert [(job["state"], job["dispatch"], job["stage"], job["topic"]) for job in jobs] == [
        ("queued", 1, "image.primary", "jobs.image")
    ]
    events = await operator.rows("SELECT seq, type FROM asset_events WHERE asset_id = :id ORDER BY seq", id=asset_id)
    assert [(event["seq"], event["type"]) for event in events] == [
        (1, "asset.created"), (2, "asset.uploaded"), (3, "job.starting"),
    ]  # fmt: skip
    dispatches = await operator.rows("SELECT kkey, kpart FROM outbox WHERE aggregateid = :id", id=str(jobs[0]["id"]))
    assert [row["kkey"] for row in dispatches] == [str(caller.tenant_id)]
    assert dispatches[0]["kpart"] is not None


async def test_complete_again_answers_the_same_whatever_happened_since(caller, operator):
    asset_id = await caller.upload()
    first = await caller.call("POST", f"/api/v1/assets/{asset_id}/complete")
    await operator.rows("UPDATE assets SET state = 'failed' WHERE id = :id RETURNING id", id=asset_id)
    second = await caller.call("POST", f"/api/v1/assets/{asset_id}/complete")
    assert first[:2] == second[:2]
    assert len(await operator.rows("SELECT FROM jobs WHERE asset_id = :id", id=asset_id)) == 1


async def _deleted(connection, tenant_id, asset_id):
    await delete_asset(connection, tenant_id, asset_id, actor="t")


async def _swept(connection, tenant_id, asset_id):
    upload = Abandoned(asset_id, tenant_id, "", None, 5)
    assert await mark_abandoned(connection, upload, age_s=-3600)  # as if its address had ended


async def _completed(connection, tenant_id, asset_id):
    assert await complete_assets(connection, tenant_id, [Completed(asset_id, "etag", None)]) == [True]


@pytest.mark.parametrize(("act", "answered"), [(_deleted, 404), (_swept, 404), (_completed, 200)])
async def test_complete_tells_what_became_of_the_asset_while_it_looked_at_the_object(caller, operator, act, answered):
    asset_id = UUID(await caller.upload())
    async with operator.database.transaction() as connection:
        await connection.execute(sa.text("SELECT FROM assets WHERE id = :id FOR UPDATE"), {"id": asset_id})
        completing = asyncio.create_task(caller.call("POST", f"/api/v1/assets/{asset_id}/complete"))
        await until_waited_for(connection, operator.database, completing)
        await act(connection, caller.tenant_id, asset_id)
    assert (await completing)[0] == answered
    jobs = await operator.rows("SELECT FROM jobs WHERE asset_id = :id", id=asset_id)
    assert len(jobs) == (answered == 200)


async def test_where_the_bucket_keeps_versions_a_second_put_changes_nothing(caller, operator, store, bucket, tmp_path):
    client_of(bucket).put_bucket_versioning(Bucket=bucket.bucket, VersioningConfiguration={"Status": "Enabled"})
    presigned = await caller.presign(size=5)
    await caller.put(presigned, PHOTO)
    await caller.call("GET", f"/api/v1/assets/{presigned['assetId']}/complete")
    await caller.put(presigned, PHOTO[:4] + b"!")
    (made,) = await operator.rows("SELECT id, dispatch FROM jobs WHERE asset_id = :id", id=presigned["assetId"])
    dispatch = Dispatch(
        job_id=made["id"], tenant_id=caller.tenant_id, asset_id=UUID(presigned["assetId"]), stage=Stage.IMAGE_PRIMARY,
        dispatch=made["dispatch"],
    )  # fmt: skip
    async with operator.database.transaction() as connection:
        job = await protocol.claim(connection, dispatch)
    await store.download(job.object_key, tmp_path / "file", if_match=job.etag, version_id=job.version_id)
    assert (tmp_path / "file").read_bytes() == PHOTO


async def test_a_second_put_is_not_what_was_completed(caller, operator):
    presigned = await caller.presign(size=5)
    await caller.put(presigned, PHOTO)
    await caller.call("GET", f"/api/v1/assets/{presigned['assetId']}/complete")
    pinned = await operator.rows("SELECT etag FROM assets WHERE id = :id", id=presigned["assetId"])
    await caller.put(presigned, PHOTO[:4] + b"!")
    await caller.call("GET", f"/api/v1/assets/{presigned['assetId']}/complete")
    assert pinned == await operator.rows("SELECT etag FROM assets WHERE id = :id", id=presigned["assetId"])


@pytest.fixture
def stored(bucket):
    """Puts an object behind the API's back, past what the signed address allows."""
    s3 = client_of(bucket)
    return lambda key, data, kind: s3.put_object(Bucket=bucket.bucket, Key=key, Body=data, ContentType=kind)


@pytest.mark.parametrize(
    ("data", "kind", "code"),
    [
        (b"hell", "image/jpeg", "upload_size_mismatch"),
        (PHOTO + b"!", "image/jpeg", "upload_size_mismatch"),
        (PHOTO, "text/html", "upload_type_mismatch"),
        (None, None, "upload_missing"),
    ],
)
async def test_what_is_not_what_was_announced_is_refused_and_may_be_mended(caller, operator, stored, data, kind, code):
    presigned = await caller.presign(size=5)
    if data is not None:
        await asyncio.to_thread(stored, presigned["objectPath"], data, kind)
    status, answer, _ = await caller.call("GET", f"/api/v1/assets/{presigned['assetId']}/complete")
    assert (status, answer["status"], answer["code"]) == (409, "error", code)
    assert await operator.rows("SELECT FROM jobs WHERE asset_id = :id", id=presigned["assetId"]) == []
    assert await caller.put(presigned, PHOTO) == 200
    assert (await caller.call("GET", f"/api/v1/assets/{presigned['assetId']}/complete"))[0] == 200


async def test_a_kind_of_file_that_only_a_newer_release_processes_is_refused_and_waits_for_it(
    caller, operator, database
):
    asset_id, other = UUID(await caller.upload()), await caller.upload()
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("ALTER TABLE assets DROP CONSTRAINT IF EXISTS assets_kind_check")
        owner.execute("UPDATE assets SET kind = 'model' WHERE id = %s", (asset_id,))
    status, answer, _ = await caller.call("POST", f"/api/v1/assets/{asset_id}/complete")
    assert (status, answer["code"]) == (400, "unsupported_type")
    status, answer, _ = await caller.call("POST", "/api/v1/assets/complete", {"assetIds": [str(asset_id), other]})
    assert status == 200
    assert [(one["status"], one.get("code")) for one in answer["data"]] == [
        ("error", "unsupported_type"), ("success", None),
    ]  # fmt: skip
    assert (await caller.call("POST", f"/api/v1/assets/{asset_id}/upload", {}))[0] == 200
    await operator.rows("UPDATE assets SET kind = 'image' WHERE id = :id RETURNING id", id=asset_id)
    assert (await caller.call("POST", f"/api/v1/assets/{asset_id}/complete"))[0] == 200


async def test_one_trace_from_the_caller_into_every_row(caller, operator):
    asset_id = await caller.upload()
    headers = {"traceparent": TRACE}
    _, _, answered = await caller.call("POST", f"/api/v1/assets/{asset_id}/complete", headers=headers)
    trace_id = TRACE.split("-")[1]
    assert answered["traceparent"].split("-")[1] == trace_id
    assert answered["traceparent"] != TRACE
    assert answered["X-Trace-Id"] == trace_id
    rows = await operator.rows(
        """SELECT traceparent FROM assets WHERE id = CAST(:id AS uuid)
           UNION ALL SELECT traceparent FROM jobs WHERE asset_id = CAST(:id AS uuid)
           UNION ALL SELECT traceparent FROM outbox WHERE type = 'job.dispatch'
               AND aggregateid IN (SELECT id::text FROM jobs WHERE asset_id = CAST(:id AS uuid))
           UNION ALL SELECT traceparent FROM outbox WHERE aggregateid = CAST(:id AS text) AND seq > 1""",
        id=asset_id,
    )
    assert [row["traceparent"] for row in rows] == [answered["traceparent"]] * 5


async def test_without_a_trace_each_request_begins_one(caller):
    traces = {(await caller.call("GET", "/api/v1/assets"))[2]["X-Trace-Id"] for _ in range(3)}
    assert len(traces) == 3


@pytest.mark.parametrize(
    ("name", "ending"),
    [("räksmörgås.jpg", "r_ksm_rg_s.jpg"), ("..", "file"), ("a" * 200 + ".jpg", "a.jpg")],
)
async def test_a_file_name_never_leaves_its_folder(caller, name, ending):
    presigned = await caller.presign(name=name)
    folder, _, last = presigned["objectPath"].rpartition("/")
    assert folder == f"uploads/{caller.tenant_id}/{presigned['assetId']}"
    assert last.endswith(ending)
    assert len(last) <= 100
    assert await caller.put(presigned) == 200
