"""Assets from remote addresses: a real server for the files, the real API, the real store."""

import asyncio
import contextlib
import hashlib

import aiohttp
import pytest
from aiohttp import web
from support import api
from support.api import PHOTO
from support.servers import serving

PATH = "/api/v1/assets"


@pytest.fixture(scope="module")
def temp(tmp_path_factory):
    return tmp_path_factory.mktemp("pulls")


@pytest.fixture(scope="module")
def server(database, bucket, temp):
    change = {
        "MEDIALANE_PULL_ALLOW_PRIVATE": "true", "MEDIALANE_PULL_TEMP_DIR": str(temp),
        "MEDIALANE_PULL_MAX_BYTES": "1000", "MEDIALANE_PULL_AT_ONCE": "2",
    }  # fmt: skip
    with api.running(api.environment(database, bucket) | change) as started:
        yield started


@pytest.fixture(scope="module")
def roomy(database, bucket, temp):
    """An API that fetches as much as it does by default."""
    change = {"MEDIALANE_PULL_ALLOW_PRIVATE": "true", "MEDIALANE_PULL_TEMP_DIR": str(temp)}
    with api.running(api.environment(database, bucket) | change) as started:
        yield started


class Files:
    """A file server whose answers a test chooses, by path."""

    def __init__(self):
        self.sent = 0
        self.answers, self.asked = {}, []
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.base = None

    async def handle(self, request):
        self.asked.append(request.path)
        answer = self.answers[request.path]
        return await answer(request) if callable(answer) else answer

    def put(self, path, body=PHOTO, content_type="image/jpeg", **headers):
        async def answer(_request):
            return web.Response(body=body, headers={"Content-Type": content_type, **headers})

        self.answers[path] = answer
        return f"{self.base}{path}"

    def redirect(self, path, target):
        async def answer(_request):
            return web.Response(status=302, headers={"Location": target})

        self.answers[path] = answer
        return f"{self.base}{path}"

    def endless(self, path, beginning, content_type="image/jpeg", *, held_after=None, **headers):
        """A body that goes on for as long as anybody reads it, or until so much of it is sent; `sent` counts it."""

        async def answer(request):
            response = web.StreamResponse(headers={"Content-Type": content_type, **headers})
            await response.prepare(request)
            chunk = beginning.ljust(1 << 14)
            with contextlib.suppress(ConnectionError):
                while held_after is None or self.sent < held_after:
                    await response.write(chunk)
                    self.sent += len(chunk)
                await self.go.wait()
            return response

        self.answers[path] = answer
        return f"{self.base}{path}"

    def slow(self, path):
        async def answer(request):
            response = web.StreamResponse(headers={"Content-Type": "image/jpeg", "Content-Length": str(len(PHOTO))})
            await response.prepare(request)
            await response.write(PHOTO[:2])
            self.reached.set()
            await self.go.wait()
            await response.write(PHOTO[2:])
            return response

        self.answers[path] = answer
        return f"{self.base}{path}"


@pytest.fixture
async def files():
    made = Files()
    async with serving(made.handle) as made.base:
        yield made
        made.go.set()


async def pull(caller, url, *, headers=None, **about):
    return await caller.call("POST", PATH, {"url": url} | about, headers=headers)


async def nothing_of(caller, operator):
    rows = await operator.rows("SELECT FROM assets WHERE tenant_id = :id", id=caller.tenant_id)
    return rows == []


async def test_a_file_becomes_an_asset_with_its_job(caller, operator, files, temp):
    files.put("/a/beach day.jpg")
    url = f"{files.base}/a/beach%20day.jpg?token=secret"
    status, answer, _ = await pull(caller, url, metadata={"album": "2026"}, tags=["sea"])
    made = answer["data"]
    digest = hashlib.sha256(PHOTO).hexdigest()
    assert status == 201, answer
    assert (made["fileName"], made["contentType"], made["size"], made["sha256"]) == (
        "beach day.jpg", "image/jpeg", 5, digest,
    )  # fmt: skip
    asset = (await caller.call("GET", f"{PATH}/{made['assetId']}"))[1]["data"]
    assert (asset["state"], asset["metadata"], asset["tags"]) == ("uploaded", {"album": "2026"}, ["sea"])
    assert [event["type"] for event in asset["timeline"]] == ["asset.created", "asset.uploaded", "job.starting"]
    noted = await operator.rows("SELECT action, actor, detail FROM audit_log WHERE subject = :id", id=made["assetId"])
    assert [(row["action"], row["detail"]) for row in noted] == [("asset.pull", {"host": "127.0.0.1", "size": 5})]
    assert asset["createdBy"] == noted[0]["actor"]
    assert not list(temp.rglob("file"))


async def test_what_is_said_wins_over_what_the_server_declares(caller, files):
    url = files.put("/x", content_type="application/octet-stream")
    status, answer, _ = await pull(caller, url)
    assert (status, answer["code"], answer["field"]) == (400, "unsupported_type", "contentType")
    status, answer, _ = await pull(caller, url, contentType="image/jpeg", fileName="y.jpg")
    assert (status, answer["data"]["fileName"]) == (201, "y.jpg")


async def test_a_pull_names_what_is_to_be_made_of_it(caller, operator, files):
    url = files.put("/a.jpg")
    status, answer, _ = await pull(caller, url, profiles=["hls"])
    assert (status, answer["code"], answer["field"]) == (422, "profiles_refused", "profiles")
    assert await nothing_of(caller, operator)
    status, answer, _ = await pull(caller, url, profiles=["thumbnail"])
    assert status == 201, answer
    asset = (await caller.call("GET", f"{PATH}/{answer['data']['assetId']}"))[1]["data"]
    assert asset["profiles"] == ["thumbnail"]


async def test_a_repeated_pull_is_done_once(caller, files):
    url, key = files.put("/once.jpg"), {"Idempotency-Key": "pull-1"}
    first, second = [await pull(caller, url, headers=key) for _ in range(2)]
    assert (first[0], first[1]) == (second[0], second[1])
    assert files.asked == ["/once.jpg"]


async def test_redirects_are_followed_and_judged_each_time(caller, files):
    files.put("/end.jpg")
    files.redirect("/two", "/end.jpg#part")
    status, answer, _ = await pull(caller, files.redirect("/one", f"{files.base}/two"))
    assert (status, answer["data"]["fileName"]) == (201, "one")
    for target in ("http://169.254.169.254/latest", "file:///etc/passwd", "http://user:pw@127.0.0.1/"):
        status, answer, _ = await pull(caller, files.redirect("/evil", target))
        assert (status, answer["code"], answer["field"]) == (422, "pull_url_refused", "url"), target
    for call in (pull(caller, files.redirect("/odd", "http://[@t]@/")), pull(caller, "http://[@t]@/")):
        status, answer, _ = await call
        assert (status, answer["field"]) == (422, "url")
    status, answer, _ = await pull(caller, files.redirect("/loop", "/loop"))
    assert (status, answer["code"]) == (422, "pull_failed")
    assert files.asked.count("/loop") == 6


@pytest.mark.parametrize(
    ("about", "status", "code"),
    [
        ({"body": b"x" * 1001}, 400, "size_out_of_range"),
        ({"body": b""}, 422, "empty_file"),
        ({"body": b"<html></html>"}, 422, "unsupported_format"),
        ({"content_type": "video/mp4"}, 422, "type_mismatch"),
        ({"content_type": "text/html; charset=utf-8"}, 400, "unsupported_type"),
        ({"Content-Encoding": "gzip"}, 422, "pull_failed"),
    ],
)
async def test_what_is_not_fit_leaves_nothing(caller, operator, files, about, status, code):
    found = await pull(caller, files.put("/unfit", **about))
    assert (found[0], found[1]["code"]) == (status, code), found[1]
    assert await nothing_of(caller, operator)


async def on_plan(new_caller, operator, server, **limits):
    caller = await new_caller(server.address)
    await operator.put_on_plan(caller.tenant_id, **limits)
    return caller


@pytest.mark.parametrize(
    ("about", "code"),
    [
        ({"beginning": b"<html>"}, "unsupported_format"),
        ({"beginning": PHOTO, "content_type": "text/html"}, "unsupported_type"),
        ({"beginning": PHOTO, "content_type": "video/mp4"}, "type_mismatch"),
        ({"beginning": PHOTO, "Content-Length": "5000000"}, "quota_exceeded"),
    ],
)
async def test_of_what_is_refused_no_more_is_fetched_than_shows_it(
    new_caller, operator, roomy, files, temp, about, code
):
    caller = await on_plan(new_caller, operator, roomy, max_bytes=4_000_000)
    _, answer, _ = await pull(caller, files.endless("/endless", held_after=1 << 16, **about))
    assert answer["code"] == code, "before the rest was sent"
    assert await nothing_of(caller, operator)
    assert not list(temp.rglob("file"))


async def test_of_what_does_not_say_its_size_little_more_is_fetched_than_there_is_room_for(
    new_caller, operator, roomy, files
):
    caller = await on_plan(new_caller, operator, roomy, max_bytes=4 << 20)
    _, answer, _ = await pull(caller, files.endless("/endless", PHOTO))
    assert answer["code"] == "quota_exceeded"
    assert 4 << 20 < files.sent < 16 << 20
    assert (await pull(caller, files.put("/a.jpg")))[0] == 201, "what was only asked for is there"


@pytest.mark.parametrize("limit", [{"max_assets": 1}, {"max_bytes": len(PHOTO)}])
async def test_a_full_quota_fetches_nothing(new_caller, operator, roomy, files, limit):
    caller = await on_plan(new_caller, operator, roomy, **limit)
    assert (await pull(caller, files.put("/first.jpg")))[0] == 201
    status, answer, _ = await pull(caller, files.put("/second.jpg"))
    assert (status, answer["code"]) == (403, "quota_exceeded")
    assert files.asked == ["/first.jpg"]


async def test_another_checksum_is_refused(caller, operator, files):
    status, answer, _ = await pull(caller, files.put("/a.jpg"), sha256="0" * 64)
    assert (status, answer["code"], answer["field"]) == (409, "upload_checksum_mismatch", "sha256")
    assert await nothing_of(caller, operator)


async def test_a_server_that_fails_is_said_so(caller, operator, files):
    async def missing(_request):
        return web.Response(status=404)

    async def endless(request):
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(bytes(400))
        return response

    async def cut(request):
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg", "Content-Length": "50"})
        await response.prepare(request)
        await response.write(PHOTO)
        request.transport.close()
        return response

    files.answers |= {"/missing": missing, "/endless": endless, "/cut": cut}
    for path, code, words in (
        ("/missing", "pull_failed", "answered 404"), ("/cut", "pull_failed", "broke"),
        ("/endless", "size_out_of_range", "more than 1000 bytes"),
    ):  # fmt: skip
        _, answer, _ = await pull(caller, f"{files.base}{path}")
        assert (answer["code"], answer["field"], words in answer["message"]) == (code, "url", True), answer
    _, answer, _ = await pull(caller, "http://127.0.0.1:1/a.jpg")
    assert (answer["code"], "127.0.0.1" in answer["message"]) == ("pull_failed", False)
    assert await nothing_of(caller, operator)


@pytest.mark.parametrize(
    "url", ["ftp://example.com/a.jpg", "http://10.1.2.3/", "http://localhost/a.jpg", "http://[::1]/a.jpg", "nonsense"]
)
async def test_private_addresses_are_refused_unless_a_setting_permits_them(env, new_caller, url):
    with api.running(env) as started:
        caller = await new_caller(started.address)
        status, answer, _ = await pull(caller, url)
        assert (status, answer["code"], answer["field"]) == (422, "pull_url_refused", "url")


async def test_pulls_at_once_are_bounded_per_tenant_and_in_all(new_caller, files):
    first, second, third = [await new_caller() for _ in range(3)]
    running = [asyncio.create_task(pull(first, files.slow("/1.jpg")))]
    await files.reached.wait()
    assert (await pull(first, files.put("/2.jpg")))[1]["code"] == "too_many_uploads"
    files.reached.clear()
    running.append(asyncio.create_task(pull(second, files.slow("/3.jpg"))))
    await files.reached.wait()
    status, answer, headers = await pull(third, files.put("/4.jpg"))
    assert (status, answer["code"], headers["Retry-After"]) == (503, "service_unavailable", "5")
    files.go.set()
    assert [status for status, _, _ in await asyncio.gather(*running)] == [201, 201]
    assert (await pull(third, files.put("/4.jpg")))[0] == 201


async def test_a_server_that_is_too_slow_is_given_up(env, new_caller, operator, files, tmp_path):
    change = {
        "MEDIALANE_PULL_ALLOW_PRIVATE": "true", "MEDIALANE_PULL_TIMEOUT_S": "0.5",
        "MEDIALANE_PULL_TEMP_DIR": str(tmp_path),
    }  # fmt: skip
    with api.running(env | change) as started:
        caller = await new_caller(started.address)
        status, answer, _ = await pull(caller, files.slow("/slow.jpg"))
        assert (status, answer["code"]) == (422, "pull_failed")
        assert await nothing_of(caller, operator)


async def test_a_process_that_dies_in_mid_download_leaves_nothing_and_the_retry_does_it(
    env, new_caller, operator, files, tmp_path
):
    change = {"MEDIALANE_PULL_ALLOW_PRIVATE": "true", "MEDIALANE_PULL_TEMP_DIR": str(tmp_path)}
    with api.running(env | change) as started:
        caller = await new_caller(started.address)
        pulling = asyncio.create_task(pull(caller, files.slow("/a.jpg")))
        await files.reached.wait()
        started.process.kill()
        with pytest.raises(aiohttp.ClientError):
            await pulling
    assert await nothing_of(caller, operator)
    assert list(tmp_path.rglob("file"))
    files.go.set()
    with api.running(env | change) as again:
        caller.base = again.address
        assert (await pull(caller, files.put("/a.jpg")))[0] == 201
    assert not list(tmp_path.rglob("file"))
