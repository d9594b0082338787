"""Originals: whose they are, what they are saved as, and what is said when they are not there."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from support.api import PHOTO
from support.media import get

from cli.client import ConflictError, MedialaneClient
from connectors.objectstore.clients import Patience, boto_clients, boto_session

OTHER = PHOTO[::-1]


async def ask(caller, asset_id, query=""):
    sent = {"Authorization": f"Bearer {caller.key}"}
    where = f"{caller.base}/api/v1/assets/{asset_id}/original{query}"
    async with caller.session.get(where, headers=sent, allow_redirects=False) as response:
        return response.status, await response.json(), response.headers


@pytest.fixture
async def completed(caller):
    presigned = await caller.presign(name="Strandtag ä.jpg")
    await caller.put(presigned)
    assert (await caller.call("POST", f"/api/v1/assets/{presigned['assetId']}/complete"))[0] == 200
    return presigned


async def test_an_original_is_read_for_a_while_and_saved_under_its_name(caller, session, completed):
    status, answer, headers = await ask(caller, completed["assetId"])
    shown = answer["data"]
    assert (status, headers["Location"], headers["Cache-Control"]) == (307, shown["url"], "no-store")
    assert (shown["fileName"], shown["contentType"], shown["size"]) == ("Strandtag ä.jpg", "image/jpeg", 5)
    left = datetime.fromisoformat(shown["urlExpiresAt"]) - datetime.now(UTC)
    assert left <= timedelta(minutes=5)
    status, content, headers = await get(session, shown["url"])
    assert (status, content, headers["Content-Type"]) == (200, PHOTO, "image/jpeg")
    assert "Content-Disposition" not in headers
    assert headers["Cache-Control"] == "private"
    for query in ("?download", "?download=true"):
        _, answer, _ = await ask(caller, completed["assetId"], query)
        _, content, headers = await get(session, answer["data"]["url"])
        assert content == PHOTO
        assert headers["Content-Disposition"] == (
            "attachment; filename=\"Strandtag _.jpg\"; filename*=UTF-8''Strandtag%20%C3%A4.jpg"
        )
    assert (await ask(caller, completed["assetId"], "?download=maybe"))[1]["field"] == "download"
    async with MedialaneClient(caller.base, caller.key) as client:
        original = await client.original(UUID(completed["assetId"]), download=True)
        assert await client.read(original.url) == PHOTO


async def test_what_is_not_there_yet_or_no_more_has_a_code(caller, store, completed):
    pending = await caller.presign()
    status, answer, _ = await ask(caller, pending["assetId"])
    assert (status, answer["code"]) == (409, "upload_missing")
    assert await caller.put(completed, OTHER) == 200
    status, answer, _ = await ask(caller, completed["assetId"])
    assert (status, answer["code"]) == (409, "source_changed")
    await store.delete(completed["objectPath"])
    status, answer, _ = await ask(caller, completed["assetId"])
    assert (status, answer["code"]) == (409, "source_missing")
    async with MedialaneClient(caller.base, caller.key) as client:
        with pytest.raises(ConflictError):
            await client.original(UUID(completed["assetId"]))
    assert (await caller.call("DELETE", f"/api/v1/assets/{completed['assetId']}"))[0] == 200
    status, answer, _ = await ask(caller, completed["assetId"])
    assert (status, answer["code"]) == (404, "not_found")


async def test_where_the_bucket_keeps_versions_it_is_the_one_that_was_completed(caller, session, bucket, store):
    (client,) = boto_clients(boto_session(bucket), bucket, Patience(60, attempts=1))
    client.put_bucket_versioning(Bucket=bucket.bucket, VersioningConfiguration={"Status": "Enabled"})
    presigned = await caller.presign()
    await caller.put(presigned)
    assert (await caller.call("POST", f"/api/v1/assets/{presigned['assetId']}/complete"))[0] == 200
    await caller.put(presigned, OTHER)
    _, answer, _ = await ask(caller, presigned["assetId"])
    assert (await get(session, answer["data"]["url"]))[1] == PHOTO
    await store.delete(presigned["objectPath"])
    _, answer, _ = await ask(caller, presigned["assetId"])
    assert (await get(session, answer["data"]["url"]))[1] == PHOTO
