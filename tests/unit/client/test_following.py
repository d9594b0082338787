"""The client follows assets to their end, and their events, against a server that answers what it is told."""

import uuid

import msgspec
import pytest
from support.answering import ASSET, NOON, later

from cli import client as c


def asset(state, **more):
    about = {
        "id": ASSET, "state": state, "generation": 1, "kind": "image", "fileName": "a.jpg", "contentType": "image/jpeg",
        "size": 5, "createdAt": NOON,
    }  # fmt: skip
    return (200, {"status": "success", "data": about | more})


async def test_wait_ready_follows_until_ready(server, client):
    server.answers = [asset("uploaded"), asset("processing"), asset("ready")]
    assert (await client.wait_ready(uuid.UUID(ASSET), poll_s=0)).state == "ready"
    assert len(server.asked) == 3


async def test_following_waits_at_the_api_and_outlives_refusals(server, client):
    server.answers = [asset("processing"), (429, {"message": "no"}), (503, {"message": "no"}), asset("ready")]
    assert (await client.wait_terminal(uuid.UUID(ASSET), timeout_s=600, poll_s=0)).state == "ready"
    waits = [float(path.partition("?until=ready&wait=")[2]) for _, path, _, _ in server.asked]
    assert len(waits) == 4
    assert all(0 < wait <= 60 for wait in waits)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("wait", ["wait_terminal", "wait_ready", "wait_settled"])
async def test_following_does_not_outlast_its_own_patience(server, client, status, wait):
    server.answers = [later(status, 30)] * 50
    with pytest.raises((c.RateLimitedError, c.ServerError)):
        await getattr(client, wait)(uuid.UUID(ASSET), timeout_s=2)
    assert len(server.asked) == 1, "the time to come again is after the end"


async def test_following_comes_again_when_it_is_told_to(server, client):
    server.answers = [later(503, 0), later(429, 0), asset("ready")]
    assert (await client.wait_ready(uuid.UUID(ASSET), timeout_s=600)).state == "ready"
    assert len(server.asked) == 3


async def test_wait_settled_follows_later_stages(server, client):
    job = {"id": ASSET, "generation": 1, "stage": "image.avif", "attempts": 1, "progress": 0, "createdAt": NOON}
    running, done = (job | {"state": state} for state in ("running", "done"))
    server.answers = [asset("processing"), asset("ready", jobs=[running]), asset("ready", jobs=[done])]
    assert (await client.wait_settled(uuid.UUID(ASSET), poll_s=0)).jobs[0].state == "done"
    assert all("?until=settled&wait=" in path for _, path, _, _ in server.asked)
    server.answers = [asset("failed", jobs=[running])]
    with pytest.raises(c.AssetFailedError):
        await client.wait_settled(uuid.UUID(ASSET), poll_s=0)


async def test_wait_ready_says_why_it_failed(server, client):
    server.answers = [asset("failed", errorCode="truncated", errorDetail="ends early")]
    with pytest.raises(c.AssetFailedError, match="truncated: ends early") as caught:
        await client.wait_ready(uuid.UUID(ASSET))
    assert caught.value.asset.error_code == "truncated"


async def test_patience_ends(server, client):
    server.answers = [asset("processing")]
    with pytest.raises(c.StillProcessingError, match="still processing"):
        await client.wait_ready(uuid.UUID(ASSET), timeout_s=-1)


def event(seq, kind="asset.ready"):
    data = {"id": ASSET, "type": kind, "time": "2026-01-31T12:00:00Z", "asset_id": ASSET, "seq": seq, "more": 1}
    return f"id: {seq}\nevent: {kind}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


async def test_events_are_read_past_what_keeps_the_stream_alive(server, client):
    server.answers = [(200, b"retry: 1000\n\n" + event(5) + b": still here\n\n" + event(6, "asset.deleted"))]
    found = [(one.seq, one.type, one.data["more"]) async for one in client.events(uuid.UUID(ASSET), after=4)]
    assert found == [(5, "asset.ready", 1), (6, "asset.deleted", 1)]
    assert server.asked[0][2]["Last-Event-ID"] == "4"


@pytest.mark.parametrize("body", [b"data: <html>\n\n", b"data: {}\n\n"])
async def test_an_event_that_is_none_is_named(server, client, body):
    server.answers = [(200, body)]
    with pytest.raises(c.BadAnswerError, match="an event that cannot be read"):
        await anext(client.events(uuid.UUID(ASSET)))


async def test_a_stream_that_is_refused_says_why(server, client):
    server.answers = [(429, {"status": "error", "code": "too_many_listeners", "message": "full"}, {"Retry-After": "1"})]
    with pytest.raises(c.RateLimitedError) as refused:
        await anext(client.events(uuid.UUID(ASSET)))
    assert (refused.value.code, refused.value.retry_after_s) == ("too_many_listeners", 1.0)
