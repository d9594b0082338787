"""What bad input gets: a typed error at once where the request shows it, a typed failure where only the bytes do."""

import asyncio

import aiohttp
import pytest
from support import e2e
from support.ports import free_port

from cli import client as c
from cli.harness.onboarding import medialane, medialane_json
from cli.harness.witness import Witness
from connectors.postgres.database import Database
from schemas.ids import uuid7
from schemas.records import HEADER_TENANT
from schemas.topics import DEAD_LETTERS

pytestmark = pytest.mark.stack

HTML = b"<!DOCTYPE html><html><body>" + b"not a photo " * 100 + b"</body></html>"


def truncated(samples):
    return samples.photos[0].read_bytes()[:400_000]


def half_a_video(samples):
    content = samples.video.read_bytes()
    return content[: len(content) // 2]


def hollow_video(samples):
    """Whole and well described, but without anything that decodes: it fails when ffmpeg has worked on it."""
    content = bytearray(samples.video.read_bytes())
    at = content.index(b"mdat")
    end = at - 4 + int.from_bytes(content[at - 4 : at], "big")
    content[at + 4 : end] = bytes(end - at - 4)
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "content_type", "make", "codes"),
    [
        ("cut.jpg", "image/jpeg", truncated, {"truncated"}),
        ("half.mp4", "video/mp4", half_a_video, {"truncated", "corrupt"}),
        ("hollow.mp4", "video/mp4", hollow_video, {"corrupt"}),
    ],
    ids=["truncated JPEG", "mp4 cut in half", "mp4 of nothing"],
)
async def test_bad_bytes_fail_once_with_a_code_and_the_worker_lives_on(actor, samples, name, content_type, make, codes):
    with Witness(actor.platform.kafka, [actor.platform.topic(DEAD_LETTERS)]) as witness:
        asset_id = await actor.upload(name, content_type, make(samples))
        asset = await actor.failed(asset_id)
        assert asset.error_code in codes
        assert asset.error_detail

        events = await actor.told(asset_id)
        assert [event.type for event in events][-2:] == ["job.failed", "asset.failed"]
        told = [one for one in actor.receiver.about(asset_id) if one.event_type == "asset.failed"]
        assert [one.payload["data"]["code"] for one in told] == [asset.error_code]
        told[0].verify(actor.secret)

        [job] = asset.jobs
        [failed] = [one for one in actor.receiver.about(asset_id) if one.event_type == "job.failed"]
        assert failed.payload["data"]["cpu_s"] == job.cpu_s > 0, "what failed is told, and paid for"

        [buried] = await actor.ledger.dead_letters(asset_id)
        assert buried.code == asset.error_code
        mine = str(actor.tenant.id)
        assert await asyncio.to_thread(
            witness.wait_for,
            lambda seen: any(record.header(HEADER_TENANT) == mine for record in seen),
            e2e.PATIENCE_S,
        )
        [record] = [record for record in witness.records if record.header(HEADER_TENANT) == mine]
        assert str(asset_id).encode() in record.value
        assert (asset.error_code or "").encode() in record.value

    # The same worker takes the next job: a good file of the kind that the topic is for.
    good = samples.video if content_type.startswith("video") else samples.photos[1]
    await actor.ready(await actor.upload(good.name, content_type, good.read_bytes()))
    assert actor.objects()


@pytest.mark.parametrize(
    ("name", "content_type", "make", "code"),
    [
        ("page.jpg", "image/jpeg", lambda _: HTML, "unsupported_format"),
        ("noise.png", "image/png", lambda _: bytes(range(256)) * 40, "unknown_format"),
        ("film.jpg", "image/jpeg", lambda samples: samples.video.read_bytes(), "type_mismatch"),
    ],
    ids=["HTML named .jpg", "noise", "a video declared as a photo"],
)
async def test_what_plainly_is_no_such_file_makes_no_job(actor, samples, name, content_type, make, code):
    content = make(samples)
    presigned = await actor.client.presign(name, content_type, len(content))
    await actor.client.put(presigned, content, content_type)
    with pytest.raises(c.RefusedError) as caught:
        await actor.client.complete(presigned.asset_id)
    assert caught.value.code == code
    asset = await actor.client.asset(presigned.asset_id)
    assert (asset.state, asset.jobs) == ("pending", [])


@pytest.mark.parametrize(
    ("content_type", "size", "field", "code"),
    [
        ("image/jpeg", 0, "size", "size_out_of_range"),
        ("image/jpeg", -5, "size", "size_out_of_range"),
        ("image/jpeg", 1 << 50, "size", "size_out_of_range"),
        ("application/pdf", 100, "contentType", "unsupported_type"),
        ("", 100, "contentType", "unsupported_type"),
    ],
)
async def test_presign_refuses_what_cannot_become_an_asset(actor, content_type, size, field, code):
    with pytest.raises(c.BadRequestError) as caught:
        await actor.client.presign("a.jpg", content_type, size)
    assert caught.value.field == field
    assert caught.value.code in {code, "invalid_request"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"fileName": "a.jpg", "contentType": "image/jpeg"}', "size"),
        (b'{"fileName": "a.jpg", "contentType": "image/jpeg", "size": "many"}', "size"),
        (b'{"fileName": 7, "contentType": "image/jpeg", "size": 5}', "fileName"),
        (b"{not json", None),
        (b"", None),
    ],
)
async def test_a_malformed_body_is_400_with_the_field(actor, body, field):
    address = f"{actor.platform.api_url}/api/v1/storage/presign"
    headers = {"Authorization": f"Bearer {actor.tenant.api_key}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession() as session, session.post(address, data=body, headers=headers) as response:
        answer = await response.json()
        assert response.status == 400
    assert answer["status"] == "error"
    assert answer["message"]
    assert "Traceback" not in answer["message"]
    if field is not None:
        assert answer["field"] == field


async def test_completing_what_was_never_uploaded_is_409_and_mends(actor, samples):
    content = samples.photos[0].read_bytes()
    presigned = await actor.client.presign("a.jpg", "image/jpeg", len(content))
    with pytest.raises(c.ConflictError) as caught:
        await actor.client.complete(presigned.asset_id)
    assert caught.value.code == "upload_missing"
    assert (await actor.client.asset(presigned.asset_id)).state == "pending"
    await actor.client.put(presigned, content, "image/jpeg")
    await actor.client.complete(presigned.asset_id)
    await actor.ready(presigned.asset_id)


async def test_the_store_takes_only_the_signed_length_and_type(actor):
    presigned = await actor.client.presign("a.jpg", "image/jpeg", 10)
    for content, content_type in ((b"x" * 9, "image/jpeg"), (b"x" * 11, "image/jpeg"), (b"x" * 10, "image/png")):
        with pytest.raises(c.StoreRefusedError) as caught:
            await actor.client.put(presigned, content, content_type)
        assert caught.value.status == 403


async def test_unknown_and_foreign_ids_are_404_alike(actor):
    async with Database(actor.platform.database, application="e2e") as database:
        other = await e2e.quick_tenant(database, "other")
    presigned = await actor.client.presign("a.jpg", "image/jpeg", 10)
    [endpoint] = await actor.client.webhooks()
    async with c.MedialaneClient(actor.platform.api_url, other.api_key) as stranger:
        messages = set()
        for asset_id in (presigned.asset_id, uuid7()):
            for call in (stranger.asset, stranger.complete):
                with pytest.raises(c.NotFoundError) as caught:
                    await call(asset_id)
                messages.add((call.__name__, caught.value.code))
        with pytest.raises(c.NotFoundError):
            await stranger.delete_webhook(endpoint.id)
        assert await stranger.webhooks() == []
        assert (await stranger.assets()).items == []
    assert messages == {("asset", "not_found"), ("complete", "not_found")}
    assert [found.id for found in await actor.client.webhooks()] == [endpoint.id]


async def test_wrong_revoked_and_expired_keys_are_401(actor):
    for key in ("", "nonsense", "mp_abc_def", actor.tenant.api_key + "x"):
        async with c.MedialaneClient(actor.platform.api_url, key) as client:
            with pytest.raises(c.UnauthenticatedError):
                await client.assets()

    slug, env = actor.tenant.slug, actor.platform.env
    minted = await medialane_json(env, "keys", "mint", slug, "--json")
    async with c.MedialaneClient(actor.platform.api_url, minted["key"]) as client:
        await client.assets()
        await medialane(env, "keys", "revoke", minted["prefix"])
        await e2e.eventually(lambda: refused(client), "a revoked key is refused", 30)

    minted = await medialane_json(env, "keys", "mint", slug, "--days", "0.00001", "--json")
    async with c.MedialaneClient(actor.platform.api_url, minted["key"]) as client:
        await e2e.eventually(lambda: refused(client), "an expired key is refused", 30)


async def refused(client):
    try:
        await client.assets()
    except c.UnauthenticatedError:
        return True
    return False


@pytest.mark.parametrize(
    "url", ["ftp://example.com/x", "file:///etc/passwd", "javascript:alert(1)", "http://", "nothing"]
)
async def test_webhook_addresses_that_are_no_http_are_422(actor, url):
    with pytest.raises(c.RefusedError) as caught:
        await actor.client.register_webhook(url, ["asset.ready"])
    assert caught.value.code == "webhook_url_refused"


async def test_without_the_development_setting_private_webhook_addresses_are_422(actor, whole):
    port = free_port()
    name = f"api@{port}"
    whole.start_part(name, {"MEDIALANE_WEBHOOK_ALLOW_PRIVATE": "false", "MEDIALANE_API_PORT": str(port)})
    try:
        async with c.MedialaneClient(f"http://127.0.0.1:{port}", actor.tenant.api_key) as client:
            for host in ("127.0.0.1", "10.0.0.7", "169.254.169.254", "[::1]", "[::ffff:10.0.0.7]", "localhost"):
                with pytest.raises(c.RefusedError) as caught:
                    await client.register_webhook(f"http://{host}/hook", ["asset.ready"])
                assert caught.value.code == "webhook_url_refused"
    finally:
        whole.stop_part(name)


async def test_an_unknown_event_type_is_refused(actor):
    with pytest.raises(c.BadRequestError) as caught:
        await actor.client.register_webhook(actor.receiver.url(), ["asset.exploded"])
    assert caught.value.field == "events"
