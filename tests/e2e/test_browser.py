"""Uploads from a page in Chromium: the page from one origin, the API on another, the object store on a third."""

import json
import re
import shutil
from pathlib import Path

import aiohttp
import boto3
import pytest
from support import browser, e2e

from cli.samples import distinct
from connectors.postgres.database import Database
from connectors.postgres.tenants import allow_origins

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(browser.PROGRAM is None, reason="there is no Chromium: `make browser` installs it"),
]

PAGES = Path(__file__).parent / "pages"
SCRIPT = Path(__file__).parents[2] / "k6/upload.js"
MANUAL = (Path(__file__).parents[2] / "docs/api.md").read_text(encoding="utf-8")
# What registries' own pages say of these versions.
UPPY = {
    5: browser.Packed(
        "uppy", "5.2.4", "1btgAGUb7Tu7GympmA9XkyGcXBSM93d1FA36J6pY4lr6a0jMXfvFUg66Dbnm/Xaq6sFvm8KwSPJF46d8Ng0E8Q=="
    ),
    6: browser.Packed(
        "uppy", "6.0.1", "2OONMUNUHGBNkfSjNpWDhleeCeqm2oP+8NJRSxkkFVLmm3BbE7S+XCm45+jp36z7PCRuogtm1FgYPKa0iKbYAQ=="
    ),
}


def manual(language):
    """The blocks of a language in the manual, in order: what it says is what is tried here."""
    return re.findall(rf"```{language}\n(.*?)```", MANUAL, re.DOTALL)


@pytest.fixture(scope="module")
def uppy(tmp_path_factory):
    """A folder with the bundles of Uppy."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to fetch Uppy with")
    folder = tmp_path_factory.mktemp("uppy")
    for major, package in UPPY.items():
        bundle = browser.unpack(package, folder / f"{major}-packed") / "dist/uppy.min.mjs"
        shutil.copy(bundle, folder / f"{major}.mjs")
    return folder


@pytest.fixture
def photo(tmp_path, samples):
    """A photo of more than one part: six MiB, the end of which decoders do not read."""
    content = distinct(samples.photos[0].read_bytes(), tmp_path.name)
    return content + bytes(max(0, (6 << 20) - len(content)))


@pytest.fixture
async def open_page(actor):
    """Opens the page, and lets it in: at the API as `medialane tenants origins` does, at the bucket as the manual says."""
    env, api = actor.platform.env, actor.platform.api_url
    bucket, store = env["MEDIALANE_S3_BUCKET"], env["MEDIALANE_S3_ENDPOINT"]
    client = boto3.client(
        "s3", endpoint_url=store, region_name="us-east-1",
        aws_access_key_id=env["MEDIALANE_S3_ACCESS_KEY"], aws_secret_access_key=env["MEDIALANE_S3_SECRET_KEY"],
    )  # fmt: skip

    async def let_in(site):
        (text,) = manual("json")
        rules = json.loads(text.replace("https://app.example", site.origin))
        client.put_bucket_cors(Bucket=bucket, CORSConfiguration=rules)
        async with Database(actor.platform.database, application="e2e") as database, database.transaction() as found:
            await allow_origins(found, actor.tenant.slug, [site.origin])
        # Both go by what they knew before for some seconds.
        key = {"Authorization": f"Bearer {actor.tenant.api_key}"}
        await e2e.eventually(lambda: allows(f"{api}/api/v1/assets", site.origin, key), "the API lets the page in")
        await e2e.eventually(lambda: allows(f"{store}/{bucket}/any", site.origin), "the store lets the page in")
        await e2e.eventually(keeps_others_out, "the store keeps others out")

    async def allows(url, origin, headers=None):
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"Origin": origin} | (headers or {})) as answer,
        ):
            return answer.headers.get("Access-Control-Allow-Origin") == origin

    async def keeps_others_out():
        return not await allows(f"{store}/{bucket}/any", "http://localhost:1")

    yield let_in
    client.delete_bucket_cors(Bucket=bucket)


@pytest.fixture
def access(actor):
    """What the page knows: where the API is, and its key."""
    return [actor.platform.api_url, actor.tenant.api_key]


async def test_parts_of_a_file_go_from_a_page_to_the_store(actor, open_page, access, photo):
    async with browser.site(PAGES) as site:
        await open_page(site)
        await site.choose(photo, "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL} été.jpg", "image/jpeg")
        sent = await site.page.evaluate("access => inParts(...access)", access)
    assert (sent["parts"], site.log) == (2, [])
    asset = await actor.ready(sent["assetId"])
    assert (asset.file_name, asset.size) == ("\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL} été.jpg", len(photo))
    await actor.finished_once(asset)


async def test_a_form_goes_from_a_page_to_the_store(actor, open_page, access, photo):
    async with browser.site(PAGES) as site:
        await open_page(site)
        await site.choose(photo, "beach.jpg", "image/jpeg")
        form = await site.page.evaluate("access => makeForm(...access)", access)
        async with site.page.expect_response(form["uploadUrl"]) as sent:
            await site.page.evaluate("document.querySelector('form').submit()")
        answer = await sent.value
        assert answer.status == 204, await answer.text()
        complete = "([api, key, id]) => ask(api, key, 'POST', `/assets/${id}/complete`)"
        await site.page.evaluate(complete, [*access, form["assetId"]])
    assert site.log == []
    await actor.finished_once(await actor.ready(form["assetId"]))


@pytest.mark.parametrize("major", sorted(UPPY))
async def test_uppy_uploads_as_the_manual_sets_it_up(actor, open_page, access, photo, uppy, major):
    set_up = dict(zip(sorted(UPPY), manual("js"), strict=True))[major]
    async with browser.site(PAGES, extra=uppy) as site:
        await open_page(site)
        await site.choose(photo, "beach.jpg", "image/jpeg")
        told = await site.page.evaluate("told => byUppy(...told)", [f"/extra/{major}.mjs", set_up, *access])
    assert told == {"successful": 1, "failed": []}, site.log
    (asset,) = (await actor.client.assets()).items
    await actor.finished_once(await actor.ready(asset.id))


async def test_the_k6_script_does_what_the_api_takes(actor, open_page, samples):
    """Not k6 itself, but its script: the few functions of k6 that it calls stand in for it."""
    photo = samples.photos[1]
    async with browser.site(PAGES, "k6.html", extra=SCRIPT.parent) as site:
        await open_page(site)
        await site.choose(photo.read_bytes(), photo.name, "image/jpeg")
        environment = {"BASE_URL": actor.platform.api_url, "API_KEY": actor.tenant.api_key}
        told = await site.page.evaluate("told => iterate(...told)", [f"/extra/{SCRIPT.name}", environment, 2])
    assert told == {f"{name} is 200": [True, True] for name in ("presign", "put", "complete")}, site.log
    page = await actor.client.assets()
    for asset in page.items:
        await actor.finished_once(await actor.ready(asset.id))
    assert [asset.file_name for asset in page.items] == ["k6-1.jpg", "k6-0.jpg"]


async def test_a_page_of_another_origin_reaches_neither_the_api_nor_the_store(actor, open_page, access, photo):
    async with browser.site(PAGES) as ours, browser.site(PAGES) as theirs:
        await open_page(ours)
        for call in (
            "([api, key]) => ask(api, key, 'GET', '/assets').catch(String)",
            "([api, key]) => ask(api, key, 'POST', '/storage/presign', {}).catch(String)",
        ):
            assert await theirs.page.evaluate(call, access) == "TypeError: Failed to fetch"
        presigned = await actor.client.presign("a.jpg", "image/jpeg", 3)
        put = "url => fetch(url, {method: 'PUT', body: new Blob(['abc'], {type: 'image/jpeg'})}).then(a => a.status, String)"
        assert await theirs.page.evaluate(put, presigned.upload_url) == "TypeError: Failed to fetch"
        assert await ours.page.evaluate(put, presigned.upload_url) == 200
