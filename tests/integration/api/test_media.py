"""Playing films by their signed addresses: whole ladders from a private bucket, ranges, caches, refusals."""

import asyncio
import base64
import dataclasses
import json
import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from uuid import UUID

import pytest
from support import api
from support.api import SIGNING_KEY
from support.media import add, address, content_of, get, granted, ladder, run, show, urls, variant
from yarl import URL

from api.media.grants import Grant, GrantSigner, object_id
from schemas.ids import uuid7

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return ladder(tmp_path_factory.mktemp("ladder"))


@pytest.fixture
async def film(caller, operator, store, made):
    """The id of an asset of the caller's that has the ladder and the storyboard, stored as a worker stores them."""
    asset_id = (await caller.presign(content_type="video/mp4", name="film.mp4"))["assetId"]
    variants = []
    for profile, rendition in made.items():
        folder = f"media/{caller.tenant_id}/{uuid7().hex}/{profile}.v1-0123456789abcdef"
        own = Path(rendition.path)
        for part in rendition.parts:
            await store.put_file(f"{folder}/{part.name}", own.with_name(part.name), part.content_type, part.sha256)
        await store.put_file(f"{folder}/{own.name}", own, rendition.content_type, rendition.sha256)
        variants.append(
            variant(
                profile, f"{folder}/{own.name}", rendition.content_type, content_of(rendition), parts=rendition.parts,
                duration_s=rendition.duration_s,
            )
        )  # fmt: skip
    await add(operator, caller, asset_id, *variants)
    return asset_id


async def test_a_private_ladder_is_played_by_its_address_alone(caller, session, film, made):
    master = (await urls(caller, film))["hls"]
    probed = await asyncio.to_thread(
        run, "ffprobe", "-v", "error", "-print_format", "json", "-show_streams", "-show_programs", master
    )
    found = json.loads(probed.stdout)
    heights = sorted(stream["height"] for stream in found["streams"] if stream["codec_type"] == "video")
    assert heights == [240, 360]
    assert any(stream["codec_type"] == "audio" for stream in found["streams"])
    assert len(found["programs"]) == 2
    # Every rendition to its end, as a player would read it.
    every = ["-map", "0"]
    decoded = await asyncio.to_thread(
        run, "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", master, *every, "-f", "null", "-"
    )
    assert decoded.stderr == ""


async def test_each_file_that_a_playlist_names_is_where_it_says(caller, session, film, made):
    master = (await urls(caller, film))["hls"]
    status, text, headers = await get(session, master)
    assert (status, headers["Content-Type"]) == (200, "application/vnd.apple.mpegurl")
    assert text == content_of(made["hls"])
    seen = set()
    todo = [URL(master)]
    while todo:
        here = todo.pop()
        status, content, _ = await get(session, str(here))
        assert (status, content) == (200, content_of(made["hls"], here.name)), here
        seen.add(here.name)
        if here.name.endswith(".m3u8"):
            lines = content.decode().splitlines()
            named = re.findall(r'URI="([^"]+)"', content.decode()) + [x for x in lines if x and not x.startswith("#")]
            todo += [here.join(URL(name)) for name in named if here.join(URL(name)).name not in seen]
    assert seen == {"hls.m3u8", *(part.name for part in made["hls"].parts)}


async def test_a_storyboard_finds_its_sprite(caller, session, film, made):
    url = URL((await urls(caller, film))["storyboard"])
    status, text, headers = await get(session, str(url))
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "text/vtt")
    (named,) = {line.partition("#")[0] for line in text.decode().splitlines() if "#xywh" in line}
    status, sprite, headers = await get(session, str(url.join(URL(named))))
    assert (status, headers["Content-Type"], sprite[:3]) == (200, "image/jpeg", b"\xff\xd8\xff")


async def test_a_playlist_is_answered_in_parts_and_only_when_it_is_new(caller, session, film, made):
    url, whole = (await urls(caller, film))["hls"], content_of(made["hls"])
    _, _, headers = await get(session, url)
    etag, size = headers["ETag"], len(whole)
    assert headers["Accept-Ranges"] == "bytes"
    status, part, headers = await get(session, url, Range="bytes=2-9")
    assert (status, part, headers["Content-Range"]) == (206, whole[2:10], f"bytes 2-9/{size}")
    assert (await get(session, url, Range="bytes=-5"))[1] == whole[-5:]
    assert (await get(session, url, Range="bytes=2-9", If_Range='"other"'))[:2] == (200, whole)
    status, refused, headers = await get(session, url, Range=f"bytes={size}-")
    assert (status, headers["Content-Range"], json.loads(refused)["code"]) == (
        416, f"bytes */{size}", "range_not_satisfiable",
    )  # fmt: skip
    status, nothing, headers = await get(session, url, If_None_Match=etag)
    assert (status, nothing, headers["ETag"]) == (304, b"", etag)
    assert (await get(session, url, If_None_Match='"other"'))[0] == 200
    for sent in ({}, {"Range": "bytes=2-9"}, {"Range": f"bytes={size}-"}):
        status, nothing, headers = await get(session, url, "HEAD", **sent)
        assert (status, "Content-Range" in headers) == (200, False)
    assert (status, nothing, headers["Content-Length"], headers["ETag"]) == (200, b"", str(size), etag)


async def test_media_come_from_the_object_store_in_ranges_too(caller, session, film, made):
    url = URL((await urls(caller, film))["hls"]).with_name("360p.mp4")
    whole = content_of(made["hls"], "360p.mp4")
    status, _, headers = await get(session, str(url), follow=False)
    assert status == 307
    assert "X-Amz-Signature=" in headers["Location"]
    status, part, headers = await get(session, str(url), Range="bytes=100-199")
    assert (status, part, headers["Content-Range"]) == (206, whole[100:200], f"bytes 100-199/{len(whole)}")
    assert (await get(session, str(url), Range=f"bytes={len(whole)}-"))[0] == 416
    assert (await get(session, str(url), If_None_Match=headers["ETag"]))[0] == 304
    status, nothing, headers = await get(session, str(url), "HEAD")
    assert (status, nothing, headers["Content-Length"]) == (200, b"", str(len(whole)))


async def test_caches_keep_an_answer_no_longer_than_its_address_is_good(caller, session, film):
    shown = await show(caller, film)
    for each in shown["variants"]:
        _, _, headers = await get(session, each["url"], follow=False)
        kept = int(re.fullmatch(r"public, max-age=(\d+)", headers["Cache-Control"])[1])
        assert 0 < kept <= 3600
    signer, tenant = GrantSigner(SIGNING_KEY), caller.tenant_id
    grant = granted(shown["variants"][0]["url"])
    soon = Grant(
        tenant_id=tenant, asset_id=UUID(film), name=grant.name, object_id=grant.object_id, ends_at=int(time.time()) + 50
    )
    url = URL(shown["variants"][0]["url"])
    short = f"{url.origin()}/media/{signer.seal(soon)}/{url.name}"
    _, _, headers = await get(session, short, follow=False)
    assert int(headers["Cache-Control"].rpartition("=")[2]) <= 50


async def test_all_who_ask_within_a_while_are_led_to_one_address_that_caches_keep_to_its_end(caller, session, film):
    shown = {each["profile"]: each for each in (await show(caller, film))["variants"]}["storyboard"]
    sprite, ends_at = URL(shown["url"]).with_name("storyboard.jpg"), datetime.fromisoformat(shown["urlExpiresAt"])
    _, _, headers = await get(session, str(sprite), follow=False)
    led = URL(headers["Location"], encoded=True)
    signed_at = datetime.strptime(led.query["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
    assert signed_at.timestamp() % 900 == 0
    assert signed_at + timedelta(seconds=int(led.query["X-Amz-Expires"])) == ends_at
    _, _, headers = await get(session, str(led))
    assert headers["Cache-Control"] == "public, immutable"
    assert parsedate_to_datetime(headers["Expires"]) == ends_at


async def test_a_variant_is_saved_under_its_assets_name(caller, session, film, made):
    url = URL((await urls(caller, film))["hls"])
    for name, ours in (("hls.m3u8", True), ("360p.mp4", False)):
        there, saved = url.with_name(name), f"film{URL(name).suffix}"
        said = f"attachment; filename=\"{saved}\"; filename*=UTF-8''{saved}"
        status, content, headers = await get(session, f"{there}?download")
        assert (status, content) == (200, content_of(made["hls"], name))
        assert headers["Content-Disposition"] == said
        for query, disposition in (("?download", said), ("", None), ("?download=false", None)):
            _, _, headers = await get(session, f"{there}{query}", follow=False)
            assert headers["Cache-Control"].startswith("public, max-age=")
            assert headers.get("Content-Disposition") == (disposition if ours else None)
    forged = url.parent.parent / ("A" * len(url.parts[-2])) / url.name
    assert (await get(session, f"{forged}?download"))[0] == 403
    assert (await get(session, f"{url}?download=maybe"))[0] == 400


async def test_nothing_is_said_to_last_longer_than_the_keys_that_sign(caller, session, film, database, bucket):
    """Keys of a role end: caches let go of a redirect by then, and clients ask for a part's address again."""
    before = (await urls(caller, film))["hls"]
    ends_at = datetime.now(UTC) + timedelta(minutes=10)
    env = api.environment(database, bucket, MEDIALANE_S3_PRESIGN_TTL_S="3600") | {
        "AWS_ACCESS_KEY_ID": bucket.access_key, "AWS_SECRET_ACCESS_KEY": bucket.secret_key,
        "AWS_CREDENTIAL_EXPIRATION": ends_at.isoformat(), "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    del env["MEDIALANE_S3_ACCESS_KEY"], env["MEDIALANE_S3_SECRET_KEY"]
    with api.running(env) as other:
        there = URL(other.address).join(URL(before).relative()).with_name("360p.mp4")
        status, _, headers = await get(session, str(there), follow=False)
        assert status == 307
        assert int(headers["Cache-Control"].rpartition("=")[2]) <= 600
        me = dataclasses.replace(caller, base=other.address)
        parts = "/api/v1/uploads/s3/multipart"
        _, begun, _ = await me.call("POST", parts, {"filename": "a.jpg", "type": "image/jpeg", "size": 9})
        for which in ("1", "batch?partNumbers=1"):
            _, signed, _ = await me.call("GET", f"{parts}/{begun['uploadId']}/{which}")
            assert signed["expires"] <= 600


async def test_every_page_may_read_by_a_signed_address(caller, session, film):
    page = {"Origin": "https://player.example"}
    for url in (await urls(caller, film)).values():
        for sent in (page, {}):
            _, _, headers = await get(session, url, follow=False, **sent)
            assert headers["Access-Control-Allow-Origin"] == "*"
            assert "Content-Range" in headers["Access-Control-Expose-Headers"]
        asked = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "range"}
        status, _, headers = await get(session, url, "OPTIONS", **page, **asked)
        allowed = [headers[f"Access-Control-Allow-{what}"] for what in ("Origin", "Headers")]
        assert (status, allowed) == (204, ["*", "*"])
    # After a redirect to another origin, browsers say that they come from none: the store has to answer that.
    media = URL((await urls(caller, film))["hls"]).with_name("360p.mp4")
    status, _, headers = await get(session, str(media), Origin="null")
    assert (status, headers["Access-Control-Allow-Origin"] in {"*", "null"}) == (200, True)


NEW_KEY = base64.b64encode(b"n" * 32).decode()


async def test_keys_change_without_ending_addresses_and_logs_do_not_hold_them(caller, session, film, database, bucket):
    before = (await urls(caller, film))["hls"]
    change = {
        "MEDIALANE_MEDIA_SIGNING_KEY": NEW_KEY, "MEDIALANE_MEDIA_SIGNING_KEY_OLD": SIGNING_KEY,
        "MEDIALANE_API_PUBLIC_ENDPOINT": "https://media.example/api/", "MEDIALANE_S3_ENDPOINT": "http://127.0.0.1:1",
    }  # fmt: skip
    with api.running(api.environment(database, bucket, **change)) as other:
        there = URL(other.address).join(URL(before).relative())
        assert (await get(session, str(there.with_name("360p.mp4")), follow=False))[0] == 307
        after = (await urls(dataclasses.replace(caller, base=other.address), film))["hls"]
        assert after.startswith("https://media.example/api/media/")
        signed_anew = URL(caller.base).join(URL(after.replace("/api/media/", "/media/")).relative())
        status, answer, _ = await get(session, str(signed_anew))
        assert (status, json.loads(answer)["code"]) == (403, "address_invalid")
        status, answer, _ = await get(session, str(there))
        assert (status, json.loads(answer)["code"]) == (503, "object_store_unavailable")
    (told,) = (line for line in other.log if line["event"] == "request failed")
    assert told["path"] == "/media/{token}/{file_name}"
    assert there.parts[-2] not in json.dumps(other.log)


async def test_what_is_forged_expired_or_no_file_is_refused(caller, session, film):
    url = URL((await urls(caller, film))["hls"])
    grant = granted(str(url))

    async def refused(address, **headers):
        status, answer, headers = await get(session, str(address), **headers)
        assert headers["Cache-Control"] == "no-store"
        assert headers["Access-Control-Allow-Origin"] == "*"
        return status, json.loads(answer)["code"]

    token = url.parts[-2]
    forged = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    assert await refused(url.parent.parent / forged / url.name) == (403, "address_invalid")
    fields = {"tenant_id": grant.tenant_id, "asset_id": grant.asset_id, "name": "hls", "object_id": grant.object_id}
    ended = address(caller, Grant(**fields, ends_at=int(time.time()) - 1), "hls.m3u8")
    assert await refused(ended) == (403, "address_expired")
    for name in ("nothing.mp4", "hls.v1.m3u8", "..%2Fhls.m3u8", "storyboard.jpg"):
        assert await refused(f"{url.parent}/{name}") == (404, "not_found")
    status, answer, _ = await get(
        session, str(url.parent.parent / forged / url.name), Accept="application/problem+json"
    )
    assert (status, json.loads(answer)["type"]) == (403, "urn:medialane:error:address_invalid")


async def test_an_address_of_another_tenants_asset_opens_nothing(caller, new_caller, session, film):
    other = await new_caller()
    grant = granted((await urls(caller, film))["hls"])
    stolen = Grant(
        tenant_id=other.tenant_id, asset_id=grant.asset_id, name="hls", object_id=grant.object_id, ends_at=grant.ends_at
    )
    status, answer, _ = await get(session, address(other, stolen, "hls.m3u8"))
    assert (status, json.loads(answer)["code"]) == (404, "not_found")


async def test_what_a_replay_made_anew_is_not_mixed_with_what_was(caller, operator, session, film, made):
    url = (await urls(caller, film))["hls"]
    master = content_of(made["hls"])
    folder = f"media/{caller.tenant_id}/{uuid7().hex}/hls.v2-fedcba9876543210"
    anew = variant("hls", f"{folder}/hls.m3u8", "application/vnd.apple.mpegurl", master, parts=made["hls"].parts)
    await add(operator, caller, film, anew)
    assert (await get(session, url))[0] == 404
    assert granted((await urls(caller, film))["hls"]).object_id == object_id(f"{folder}/hls.m3u8")


async def test_a_deleted_asset_is_gone(caller, session, film):
    before = await urls(caller, film)
    assert (await caller.call("DELETE", f"/api/v1/assets/{film}"))[0] == 200
    for url in before.values():
        status, answer, _ = await get(session, url)
        assert (status, json.loads(answer)["code"]) == (404, "not_found")
