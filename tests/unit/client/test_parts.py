"""A file in parts, of which some fail at once: the caller is told of one failure, as of any other call's."""

import asyncio
from uuid import UUID

import pytest
from aiohttp import web
from click.testing import CliRunner
from support.servers import serving

from cli import upload
from cli.client import MedialaneClient, PartsUpload, StoreRefusedError, UnreachableError, parts

ASSET = UUID(int=1)
PARTS = 3


@pytest.fixture
def film(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "SMALLEST_PART", 1 << 20)
    monkeypatch.setattr(parts, "_ATTEMPTS", 1)
    path = tmp_path / "film.mp4"
    path.write_bytes(bytes(PARTS << 20))
    return path


@pytest.fixture
async def server():
    """An API whose store takes no part: refused when all of them have come."""
    together = asyncio.Barrier(PARTS)

    async def handle(request):
        await request.read()
        if request.method == "PUT":
            await together.wait()
            return web.Response(status=403, text="SignatureDoesNotMatch")
        if request.path.endswith("/batch"):
            numbers = request.query["partNumbers"].split(",")
            return web.json_response({"presignedUrls": dict.fromkeys(numbers, str(request.url.origin() / "part"))})
        return web.json_response({"key": "uploads/x", "uploadId": str(ASSET)})

    async with serving(handle) as url:
        yield url


async def test_parts_that_are_refused_together_raise_one_typed_error(server, film):
    async with MedialaneClient(server, "mp_a_b") as client:
        with pytest.raises(StoreRefusedError, match="SignatureDoesNotMatch"):
            await PartsUpload(client, film, "video/mp4").send(ASSET)


async def test_a_file_that_is_gone_raises_what_opening_it_does(server, film):
    async with MedialaneClient(server, "mp_a_b") as client:
        sending = PartsUpload(client, film, "video/mp4")
        film.unlink()
        with pytest.raises(FileNotFoundError):
            await sending.send(ASSET)


async def test_what_failed_keeps_its_cause(server, film, monkeypatch):
    async def put(address, content):
        raise UnreachableError("reset") from ConnectionResetError()

    async with MedialaneClient(server, "mp_a_b") as client:
        monkeypatch.setattr(client, "put_part", put)
        with pytest.raises(UnreachableError) as failed:
            await PartsUpload(client, film, "video/mp4").send(ASSET)
    assert isinstance(failed.value.__cause__, ConnectionResetError)


async def test_the_command_tells_of_it_in_a_line(server, film, monkeypatch):
    monkeypatch.setattr(upload, "IN_PARTS_FROM", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(film.parent))
    arguments = [str(film), "--url", server, "--key", "mp_a_b", "--quiet"]
    ended = await asyncio.to_thread(CliRunner().invoke, upload.upload, arguments)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr.splitlines() == [f"medialane: {film}: the object store answered 403: SignatureDoesNotMatch"]
