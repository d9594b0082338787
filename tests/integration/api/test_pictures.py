"""Pictures in several formats, and variants by their names."""

import asyncio
import hashlib
import json
import os
from uuid import UUID

import pytest
from click.testing import CliRunner
from support.api import PHOTO
from support.media import add, get, show, urls, variant

from cli.assets import assets
from cli.client import MedialaneClient


@pytest.fixture
async def photo(caller, operator, store, tmp_path):
    """The id of an asset with a picture in three formats, one in two, and one alone; all bytes tell their format."""
    presigned = await caller.presign()
    await caller.put(presigned, PHOTO)
    asset_id = presigned["assetId"]
    assert (await caller.call("POST", f"/api/v1/assets/{asset_id}/complete"))[0] == 200
    variants = []
    for profile, kind in (
        ("display_large", "webp"), ("display_large_jpeg", "jpeg"), ("display_large_avif", "avif"),
        ("thumbnail", "webp"), ("thumbnail_avif", "avif"), ("hero", "webp"),
    ):  # fmt: skip
        content, path = f"{profile} in {kind}".encode(), tmp_path / profile
        path.write_bytes(content)
        key = f"media/{caller.tenant_id}/{asset_id}/{profile}.v1.{kind}"
        await store.put_file(key, path, f"image/{kind}", hashlib.sha256(content).hexdigest())
        variants.append(variant(profile, key, f"image/{kind}", content))
    await add(operator, caller, asset_id, *variants)
    return asset_id


CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


async def test_a_picture_answers_in_the_best_format_that_accept_allows(caller, session, photo):
    pictures = {each["name"]: each for each in (await show(caller, photo))["pictures"]}
    assert {name: each["contentTypes"] for name, each in pictures.items()} == {
        "display_large": ["image/avif", "image/webp", "image/jpeg"], "thumbnail": ["image/avif", "image/webp"],
    }  # fmt: skip
    url = pictures["display_large"]["url"]
    for accept, profile, kind in (
        (CHROME, "display_large_avif", "avif"), ("image/webp,*/*;q=0.5", "display_large", "webp"),
        ("*/*", "display_large_jpeg", "jpeg"),
    ):  # fmt: skip
        status, content, headers = await get(session, url, Accept=accept)
        assert (status, content, headers["Content-Type"]) == (200, f"{profile} in {kind}".encode(), f"image/{kind}")
        _, _, headers = await get(session, url, follow=False, Accept=accept)
        assert headers["Vary"] == "Accept"
    status, answer, headers = await get(session, pictures["thumbnail"]["url"], Accept="image/jpeg")
    assert (status, json.loads(answer)["code"]) == (406, "not_acceptable")
    exact = (await urls(caller, photo))["display_large_jpeg"]
    _, content, headers = await get(session, exact, Accept=CHROME)
    assert content == b"display_large_jpeg in jpeg"


async def test_a_keys_owner_asks_for_a_variant_by_name(caller, session, photo):
    async def ask(name, accept="*/*"):
        sent = {"Authorization": f"Bearer {caller.key}", "Accept": accept}
        where = f"{caller.base}/api/v1/assets/{photo}/variants/{name}"
        async with session.get(where, headers=sent, allow_redirects=False) as response:
            return response.status, await response.json(), response.headers

    for name, accept, profile in (
        ("display_large", CHROME, "display_large_avif"), ("display_large", "*/*", "display_large_jpeg"),
        ("display_large_jpeg", CHROME, "display_large_jpeg"), ("hero", "*/*", "hero"),
    ):  # fmt: skip
        status, answer, headers = await ask(name, accept)
        assert (status, answer["data"]["profile"], headers["Vary"]) == (307, profile, "Accept")
        assert headers["Location"] == answer["data"]["url"]
        assert (await get(session, headers["Location"]))[1].decode().startswith(f"{profile} in ")
    status, answer, headers = await ask("thumbnail", "image/png")
    assert (status, answer["code"], headers["Vary"]) == (406, "not_acceptable", "Accept")
    status, answer, _ = await ask("nothing")
    assert (status, answer["code"]) == (404, "not_found")
    status, answer, _ = await ask("no%00thing")
    assert (status, answer["code"]) == (400, "invalid_request")


async def test_the_python_client_downloads_every_variant(caller, photo):
    async with MedialaneClient(caller.base, caller.key) as client:
        asset = await client.asset(UUID(photo))
        for each in asset.variants:
            told = f"{each.profile} in {each.content_type.removeprefix('image/')}"
            assert (await client.download(each)).decode() == told
    assert [each.name for each in asset.pictures] == ["display_large", "thumbnail"]


async def test_a_gallery_is_one_request(caller, photo):
    bare = (await caller.presign())["assetId"]
    _, answer, _ = await caller.call("GET", "/api/v1/assets?include=variants")
    shown = await show(caller, photo)
    listed = {item["id"]: (item["variants"], item["pictures"]) for item in answer["data"]["items"]}
    assert listed == {bare: ([], []), photo: (shown["variants"], shown["pictures"])}
    _, answer, _ = await caller.call("GET", "/api/v1/assets")
    assert all("variants" not in item and "pictures" not in item for item in answer["data"]["items"])
    status, answer, _ = await caller.call("GET", "/api/v1/assets?include=jobs")
    assert (status, answer["field"]) == (400, "include")
    async with MedialaneClient(caller.base, caller.key) as client:
        _, item = (await client.assets(variants=True)).items
        asset = await client.asset(UUID(photo))
        assert (item.variants, item.pictures) == (asset.variants, asset.pictures)


async def test_the_command_saves_what_is_there(caller, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def download(*arguments):
        door = ["--url", caller.base, "--key", caller.key]
        return await asyncio.to_thread(CliRunner().invoke, assets, ["download", photo, *arguments, *door])

    for arguments, name, content in (
        ([], "photo.jpg", None), (["original", "-o", "o.jpg"], "o.jpg", None),
        (["display_large"], "photo.display_large.webp", b"display_large in webp"),
        (["thumbnail_avif", "-o", "t"], "t", b"thumbnail_avif in avif"),
        (["hero", "-o", "t"], "t", b"hero in webp"),
    ):  # fmt: skip
        ended = await download(*arguments)
        assert (ended.exit_code, ended.stdout) == (0, f"{name}\n"), ended.stderr
        assert (tmp_path / name).read_bytes() == (content or PHOTO)
    ended = await download()
    assert (ended.exit_code, "photo.jpg is there already" in ended.stderr) == (1, True)
    os.mkfifo(tmp_path / "pipe")
    ended = await download("-o", "pipe")
    assert (ended.exit_code, "pipe is no file" in ended.stderr) == (1, True)
    ended = await download("nothing")
    assert (ended.exit_code, "there are original, display_large," in ended.stderr) == (1, True)
