"""Keys of an issuer that does not answer: it is asked once, and nobody queues for it."""

import asyncio
import json

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm
from support.servers import serving

from connectors.jwks import KeySet
from schemas.errors import ErrorCode, MedialaneError

BOUND_S = 30
JWK = json.loads(OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key())) | {"kid": "known"}


def away():
    return web.Response(status=503)


class Issuer:
    """Holds each request until it is let go, and then says what a test has put into `answer`."""

    def __init__(self):
        self.asked, self.answer = 0, away
        self.held, self.go = asyncio.Event(), asyncio.Event()

    async def handle(self, request):
        assert (request.method, request.path) == ("GET", "/")
        self.asked += 1
        self.held.set()
        await self.go.wait()
        return self.answer()


@pytest.fixture
async def issuer():
    issuer = Issuer()
    async with serving(issuer.handle) as address:
        issuer.url = f"{address}/"
        yield issuer
        issuer.go.set()


def asked(keys, *names):
    """Requests with tokens of these key ids, each as what becomes of it."""
    return [asyncio.create_task(outcome(keys, name)) for name in names]


async def outcome(keys, name):
    try:
        found = await keys.find(name)
    except MedialaneError as error:
        return error.code
    return found and found.algorithm


INVENTED = [f"invented-{number}" for number in range(20)]
AWAY = ErrorCode.SERVICE_UNAVAILABLE


async def test_an_issuer_that_never_answered_is_asked_once_for_all_who_came(issuer):
    keys = KeySet(issuer.url, ttl_s=300)
    waiting = asked(keys, *INVENTED)
    await asyncio.wait_for(issuer.held.wait(), BOUND_S)
    issuer.go.set()
    assert await asyncio.wait_for(asyncio.gather(*waiting), BOUND_S) == [AWAY] * 20
    assert await asyncio.wait_for(asyncio.gather(*asked(keys, *INVENTED)), BOUND_S) == [AWAY] * 20
    assert issuer.asked == 1


async def test_only_one_request_waits_for_an_issuer_that_was_silent(issuer):
    keys = KeySet(issuer.url, ttl_s=1e-9)  # no pause between tries
    issuer.go.set()
    assert await outcome(keys, "known") == AWAY
    issuer.go.clear()
    issuer.held.clear()
    trying = asked(keys, "known")
    await asyncio.wait_for(issuer.held.wait(), BOUND_S)
    others = await asyncio.wait_for(asyncio.gather(*asked(keys, *INVENTED)), BOUND_S)
    assert (others, trying[0].done(), issuer.asked) == ([AWAY] * 20, False, 2)
    issuer.answer = lambda: web.json_response({"keys": [JWK]})
    issuer.go.set()
    assert await asyncio.wait_for(trying[0], BOUND_S) == "EdDSA"


async def test_known_keys_stay_good_while_the_issuer_is_silent(issuer):
    keys = KeySet(issuer.url, ttl_s=1e-9)
    issuer.answer = lambda: web.json_response({"keys": [JWK]})
    issuer.go.set()
    assert await outcome(keys, "known") == "EdDSA"
    issuer.answer = away
    assert await outcome(keys, "known") == "EdDSA"
    issuer.go.clear()
    issuer.held.clear()
    trying = asked(keys, "known")
    await asyncio.wait_for(issuer.held.wait(), BOUND_S)
    assert await asyncio.wait_for(asyncio.gather(*asked(keys, "known", "other")), BOUND_S) == ["EdDSA", None]
    issuer.go.set()
    assert await asyncio.wait_for(trying[0], BOUND_S) == "EdDSA"
