"""Uploads and films in a page in Chromium: the page from one origin, the API on another, the object store on a third."""

import json
import re
import shutil
from pathlib import Path

import aiohttp
import boto3
import pytest
from support import browser, e2e
from support.media import run
from yarl import URL

from cli.harness.samples import distinct
from connectors.postgres.accounts.profile_sets import save_choice
from connectors.postgres.accounts.tenants import allow_origins
from connectors.postgres.database import Database
from schemas.profile_sets import ProfileChoice

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
HLS_JS = browser.Packed(
    "hls.js", "1.7.4", "3GlxGdPvT2YHvQYOt+yOzT/DEior/qJVNIylHA77kgeoBTdQQqi70GwefNEUmHQeNGyjC8U62+bruqW/Tpm+tg=="
)
FILM_S = 13


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


@pytest.fixture(scope="module")
def hls_js(tmp_path_factory):
    """A folder with the bundle of hls.js."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to fetch hls.js with")
    return browser.unpack(HLS_JS, tmp_path_factory.mktemp("hls.js") / "packed") / "dist"


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

    async def let_in(site, *, films=False):
        uploads, play = (block for block in manual("json") if "AllowedOrigins" in block)
        rules = json.loads(uploads.replace("https://app.example", site.origin))
        rules["CORSRules"] += [json.loads(play)] if films else []
        client.put_bucket_cors(Bucket=bucket, CORSConfiguration=rules)
        async with Database(actor.platform.database, application="e2e") as database, database.transaction() as found:
            await allow_origins(found, actor.tenant.slug, [site.origin])
        # Both go by what they knew before for some seconds.
        key = {"Authorization": f"Bearer {actor.tenant.api_key}"}
        await e2e.eventually(lambda: allows(f"{api}/api/v1/assets", site.origin, key), "the API lets the page in")
        await e2e.eventually(lambda: allows(f"{store}/{bucket}/any", site.origin), "the store lets the page in")
        await e2e.eventually(shows_films if films else keeps_others_out, "the store has the rule for others")

    async def allows(url, origin, headers=None):
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"Origin": origin} | (headers or {})) as answer,
        ):
            return answer.headers.get("Access-Control-Allow-Origin") in {origin, "*"}

    async def keeps_others_out():
        return not await allows(f"{store}/{bucket}/any", "http://localhost:1")

    async def shows_films():
        return await allows(f"{store}/{bucket}/any", "null")

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


@pytest.fixture
async def film(actor, tmp_path):
    """The addresses of a film's ladder and storyboard."""
    async with Database(actor.platform.database, application="e2e") as database, database.transaction() as found:
        await save_choice(found, actor.tenant.id, ProfileChoice(include=("poster", "streaming")))
    clip = tmp_path / "film.mp4"
    run(
        "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=size=854x480:rate=25:duration={FILM_S}",
        "-f", "lavfi", "-i", f"sine=duration={FILM_S}", "-pix_fmt", "yuv420p", "-preset", "ultrafast", str(clip),
    )  # fmt: skip
    asset = await actor.ready(await actor.upload("film.mp4", "video/mp4", clip.read_bytes()))
    return {variant.profile: variant.url for variant in asset.variants}


async def test_hls_js_plays_a_ladder_and_shows_its_storyboard(actor, open_page, hls_js, film):
    async with browser.site(PAGES, "film.html", extra=hls_js) as site:
        hosts = set()
        site.page.on("response", lambda answer: hosts.add((answer.status, URL(answer.url).port)))
        await open_page(site)
        cues = await site.page.evaluate("storyboard", film["storyboard"])
        (picture,) = {cue["picture"] for cue in cues}
        refused = await site.page.evaluate("picture => pixels(picture).catch(String)", picture)
        assert refused == "TypeError: Failed to fetch", "the store has no rule yet for who comes by way of the API"
        await open_page(site, films=True)
        width, height = await site.page.evaluate("pixels", picture)
        told = await site.page.evaluate("told => play(...told)", ["/extra/hls.min.mjs", film["hls"], 2])
    assert told["levels"] == [240, 360, 480]
    assert told["errors"] == []
    assert sorted(told["begins"]) == ["audio", "video"]
    assert max(told["begins"].values()) < 0.03, "pictures and sound begin together, and at once"
    assert (told["played"][0], told["played"][-1]) == (240, 480)
    assert FILM_S - 1 < told["seconds"] < FILM_S + 1
    store, api = (URL(address).port for address in (actor.platform.env["MEDIALANE_S3_ENDPOINT"], film["hls"]))
    assert {(200, api), (307, api), (206, store)} <= hosts, "playlists by the API, bytes by the store, in ranges"
    assert (cues[0]["startTime"], FILM_S - 1 < cues[-1]["endTime"] < FILM_S + 1) == (0, True)
    for x, y, across, down in (cue["box"] for cue in cues):
        assert 0 <= x < x + across <= width
        assert 0 <= y < y + down <= height
