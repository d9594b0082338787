"""Downloads to files: whole, or as they were; and what lists are asked for."""

import asyncio
import hashlib

import pytest
from aiohttp import web
from click.testing import CliRunner
from support.servers import serving

from cli import client as c
from cli.assets import assets

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


async def test_a_file_is_whole_and_who_waits_is_told(server, client, tmp_path):
    path, told = tmp_path / "a.webp", []
    server.answers = [(200, CONTENT)]
    await client.save(f"{server.url}/a", path, size=len(CONTENT), sha256=SHA256, got=told.append)
    assert (path.read_bytes(), sum(told)) == (CONTENT, len(CONTENT))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, CONTENT[:-1]), c.BadAnswerError), ((200, CONTENT[::-1]), c.BadAnswerError),
        ((403, b"<Error/>"), c.StoreRefusedError),
    ],
    ids=["fewer bytes", "other bytes", "refused"],
)  # fmt: skip
async def test_what_is_not_what_was_announced_leaves_a_file_as_it_was(server, client, tmp_path, answer, error):
    path = tmp_path / "a.webp"
    path.write_bytes(b"before")
    server.answers = [answer]
    with pytest.raises(error):
        await client.save(f"{server.url}/a", path, size=len(CONTENT), sha256=SHA256)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"a.webp": b"before"}


async def test_a_download_that_breaks_off_leaves_nothing(client, tmp_path):
    async def breaks(request):
        response = web.StreamResponse(headers={"Content-Length": str(len(CONTENT))})
        await response.prepare(request)
        await response.write(CONTENT[:1000])
        request.transport.close()
        return response

    async with serving(breaks) as url:
        with pytest.raises(c.UnreachableError):
            await client.save(f"{url}/a", tmp_path / "a.webp", size=len(CONTENT))
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_cannot_be_written_is_no_fault_of_the_store(server, client, tmp_path):
    server.answers = [(200, CONTENT)]
    with pytest.raises(FileNotFoundError):
        await client.save(f"{server.url}/a", tmp_path / "nowhere" / "a.webp", size=len(CONTENT))


async def test_a_list_is_asked_for_by_all_that_the_api_knows(server):
    server.answers = [(200, {"data": {"items": [], "nextCursor": None}})]
    arguments = ["ls", "--url", server.url, "--key", "mp_a_b", "--state", "ready", "--kind", "image", "--json"]
    arguments += ["--tag", "beach", "--tag", "2026", "--metadata", "album=a b", "--since", "2026-01-31"]
    arguments += ["--before", "2026-02-28"]
    ended = await asyncio.to_thread(CliRunner().invoke, assets, arguments)
    assert (ended.exit_code, ended.stdout) == (0, "[]\n")
    [(_, path, _, _)] = server.asked
    assert path == (
        "/api/v1/assets?limit=50&state=ready&type=image&include=variants&createdFrom=2026-01-31T00:00:00%2B00:00"
        "&createdTo=2026-02-28T00:00:00%2B00:00&tag=beach&tag=2026&metadata=album:a+b"
    )
