"""The outgoing client against a real server on loopback."""

import asyncio
import resource
import socket
import threading

import aiohttp
import pytest
from aiohttp import web
from support.servers import serving

from connectors.http import session
from connectors.http.client import HttpClient, Outcome
from connectors.http.fetch import Fetcher


@pytest.fixture
async def client():
    async with HttpClient(timeout_s=5, connections=4, allow_private=True) as client:
        yield client


async def test_an_answer_is_a_value(client):
    async def handler(request):
        assert request.headers["X-Extra"] == "1"
        assert "Accept-Encoding" not in request.headers
        return web.Response(status=429, text=(await request.text())[::-1], headers={"Retry-After": "7"})

    async with serving(handler) as address:
        answer = await client.post(f"{address}/hook", body=b"abc", headers={"X-Extra": "1"})
    assert (answer.outcome, answer.status, answer.body, answer.retry_after) == (Outcome.ANSWERED, 429, b"cba", "7")


async def test_redirects_are_answers_and_not_followed(client):
    seen = []

    async def handler(request):
        seen.append(request.path)
        raise web.HTTPFound("/elsewhere")

    async with serving(handler) as address:
        answer = await client.post(f"{address}/hook", body=b"", headers={})
    assert (answer.status, seen) == (302, ["/hook"])


async def test_a_receiver_that_does_not_answer_in_time():
    released = asyncio.Event()

    async def handler(_request):
        await released.wait()
        return web.Response()

    async with serving(handler) as address, HttpClient(timeout_s=0.2, connections=1, allow_private=True) as client:
        answer = await client.post(address, body=b"", headers={})
        released.set()
    assert (answer.outcome, answer.status) == (Outcome.TIMEOUT, None)


async def test_a_body_that_never_ends_neither_hides_the_status_nor_holds_the_request():
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"start")
        while True:  # as long as somebody listens
            await asyncio.sleep(0.05)
            await response.write(b".")

    async with (
        serving(handler) as address,
        HttpClient(timeout_s=600, connections=1, allow_private=True) as client,
        asyncio.timeout(60),
    ):
        answer = await client.post(address, body=b"", headers={})
    assert (answer.outcome, answer.status, answer.body[:6]) == (Outcome.ANSWERED, 200, b"start.")


async def test_a_large_body_is_cut(client):
    async def handler(_request):
        return web.Response(body=b"x" * 5_000_000)

    async with serving(handler) as address:
        answer = await client.post(address, body=b"", headers={})
    assert (answer.status, len(answer.body)) == (200, 4096)


async def test_connections_are_used_again(client):
    peers = set()

    async def handler(request):
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(body=b"y" * 10_000)

    async with serving(handler) as address:
        for _ in range(3):
            await client.post(address, body=b"", headers={})
    assert len(peers) == 1


async def test_many_receivers_leave_a_bounded_number_of_connections_open(monkeypatch):
    """Forty names of one server, which are forty receivers to the client."""
    sockets, counts, served = [], [], set()
    make = session._guarded_socket

    def counted(*args):
        sockets.append(make(*args))
        counts.append(sum(one.fileno() != -1 for one in sockets))
        return sockets[-1]

    async def handler(request):
        served.add(request.transport)
        return web.Response()

    monkeypatch.setattr(session, "_guarded_socket", counted)
    monkeypatch.setattr("connectors.http.resolver._lookup", lambda host, port, family: [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
    ])  # fmt: skip
    async with serving(handler) as address, HttpClient(timeout_s=5, connections=4, allow_private=True) as client:
        urls = [f"http://r{number}.example.com:{address.rpartition(':')[2]}/" for number in range(40)]
        for url in [*urls, *urls[-16:]]:
            assert (await client.post(url, body=b"", headers={})).status == 200
        assert len(served) == len(sockets) == 40, "those used last are kept, and used again"
        await asyncio.gather(*(client.post(url, body=b"", headers={}) for url in urls * 2))
    assert max(counts) == 16


@pytest.mark.parametrize("kind", [HttpClient, Fetcher])
async def test_what_is_closed_leaves_no_thread_behind(kind):
    before = set(threading.enumerate())
    held = kind(timeout_s=5, connections=1)
    with pytest.raises(aiohttp.ClientConnectorDNSError):
        await held._session.get("http://nothing.invalid/")
    lookups = set(threading.enumerate()) - before
    await held.close()
    for thread in lookups:
        await asyncio.to_thread(thread.join, 10)
    assert [thread.is_alive() for thread in lookups] == [False]


async def test_nobody_listens_and_nothing_resolves(client):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    answer = await client.post(f"http://127.0.0.1:{port}/", body=b"", headers={})
    assert (answer.outcome, answer.detail) == (Outcome.UNREACHABLE, "no connection could be made")
    answer = await client.post("http://nothing.invalid/", body=b"", headers={})
    assert (answer.outcome, answer.detail) == (Outcome.UNREACHABLE, "the name has no address")


async def test_of_a_name_with_many_addresses_some_are_dialled(monkeypatch):
    """Of each family, so that the other is tried where one leads nowhere."""
    dialled = []

    def refuse(_allow_private, info):
        dialled.append(info[4][0])
        raise ConnectionRefusedError

    v4 = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.2.{number}", 80)) for number in range(40)]
    v6 = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (f"fd00::{number}", 80, 0, 0)) for number in range(40)]
    monkeypatch.setattr("connectors.http.resolver._lookup", lambda *_: [*v6, *v4])
    monkeypatch.setattr(session, "_guarded_socket", refuse)
    async with HttpClient(timeout_s=5, connections=1, allow_private=True) as client:
        answer = await client.post("http://many.example.com/", body=b"", headers={})
    assert answer.outcome is Outcome.UNREACHABLE
    assert sorted(set(dialled)) == [f"127.0.2.{number}" for number in range(4)] + [
        f"fd00::{number}" for number in range(4)
    ]


async def test_a_lack_of_descriptors_is_no_fault_of_the_receiver(client):
    async def handler(_request):
        return web.Response()

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(handler) as address:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))  # those that are open stay so
        try:
            answer = await client.post(address, body=b"", headers={})
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (answer.outcome, answer.detail) == (Outcome.UNSENT, "this process has too many files open")


async def test_a_server_that_hangs_up_or_speaks_no_http(client):
    async def hang_up(_reader, writer):
        writer.close()

    async def babble(_reader, writer):
        writer.write(b"SSH-2.0-server\r\n\r\n")
        writer.close()

    for speak in (hang_up, babble):
        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        async with server:
            answer = await client.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", body=b"", headers={})
        assert answer.outcome is Outcome.UNREACHABLE


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "2130706433"]
)
async def test_the_dialled_address_decides(host):
    """`localhost` is a name that resolves to a refused address; no request may reach the server behind it."""
    hits = []

    async def handler(request):
        hits.append(request)
        return web.Response()

    async with serving(handler) as address, HttpClient(timeout_s=5, connections=1) as client:
        answer = await client.post(f"http://{host}:{address.rpartition(':')[2]}/", body=b"", headers={})
    assert (answer.outcome, hits) == (Outcome.REFUSED, [])


async def test_a_name_that_changes_its_mind_between_attempts_is_judged_at_each(client, monkeypatch):
    """The guard sees what is dialled: an answer of the resolver that was fine before protects nothing."""
    strict = HttpClient(timeout_s=5, connections=1)
    monkeypatch.setattr("connectors.http.resolver._lookup", lambda host, port, family: [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", port))
    ])  # fmt: skip
    async with strict:
        answer = await strict.post("http://rebound.example.com/", body=b"", headers={})
    assert answer.outcome is Outcome.REFUSED
    assert "169.254" not in answer.detail
