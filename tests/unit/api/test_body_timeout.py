"""The bound on a body's time: it is the sender's time that counts."""

import asyncio

import pytest

from api.middleware.body_timeout import LONGEST_S, Bodies
from schemas.errors import ErrorCode, MedialaneError


@pytest.fixture
async def passes(monkeypatch):
    """Lets time pass for the loop."""
    loop, passed = asyncio.get_running_loop(), 0.0
    time = loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + passed)

    def passes(seconds):
        nonlocal passed
        passed += seconds

    return passes


async def read(*, before, between=lambda: None):
    """The bytes that an application gets which does something before it reads, and between two reads."""
    chunks, got = [b"one", b"two"], []

    async def receive():
        for _ in range(3):
            await asyncio.sleep(0)
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def app(scope, receive, send):
        before()
        got.append((await receive())["body"])
        between()
        got.append((await receive())["body"])

    await Bodies(app)({"type": "http"}, receive, None)
    return got


async def test_time_before_the_body_is_looked_for_is_not_the_senders(passes):
    assert await read(before=lambda: passes(2 * LONGEST_S)) == [b"one", b"two"]


async def test_a_body_whose_rest_does_not_come_in_time_is_refused(passes):
    with pytest.raises(MedialaneError) as caught:
        await read(before=lambda: None, between=lambda: passes(2 * LONGEST_S))
    assert caught.value.code is ErrorCode.REQUEST_TIMEOUT


@pytest.mark.parametrize("header", [b"content-length", b"transfer-encoding"])
@pytest.mark.parametrize("came", [[], [{"type": "http.request", "body": b"{", "more_body": True}]])
async def test_a_body_that_breaks_off_is_its_senders_mistake(header, came):
    messages = [*came, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    async def app(scope, receive, send):
        while True:
            await receive()

    with pytest.raises(MedialaneError) as caught:
        await Bodies(app)({"type": "http", "headers": [(header, b"9")]}, receive, None)
    assert caught.value.code is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"2")]])
async def test_who_goes_after_the_body_is_only_gone(headers):
    messages = [{"type": "http.request", "body": b"{}", "more_body": False}] if headers else []
    messages.append({"type": "http.disconnect"})
    got = []

    async def receive():
        return messages.pop(0)

    async def app(scope, receive, send):
        while messages:
            got.append((await receive())["type"])

    await Bodies(app)({"type": "http", "headers": headers}, receive, None)
    assert got[-1] == "http.disconnect"
