"""JWTs against a running API: good ones are let in, every kind of bad one is not."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from support import api

ISSUER, AUDIENCE = "https://issuer.example", "medialane"
_MADE = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def public_jwk(key, algorithm, kid):
    of = {
        "RS256": jwt.algorithms.RSAAlgorithm,
        "ES256": jwt.algorithms.ECAlgorithm,
        "EdDSA": jwt.algorithms.OKPAlgorithm,
    }
    return json.loads(of[algorithm].to_jwk(key.public_key())) | {"kid": kid, "use": "sig"}


@pytest.fixture(scope="module")
def issuer():
    """A private key per algorithm."""
    return {algorithm: make() for algorithm, make in _MADE.items()}


@pytest.fixture(scope="module")
def jwks(issuer, tmp_path_factory):
    file = tmp_path_factory.mktemp("jwks") / "jwks.json"
    weak = rsa.generate_private_key(65537, 1024)
    keys = [public_jwk(key, algorithm, algorithm) for algorithm, key in issuer.items()]
    keys += [
        public_jwk(weak, "RS256", "weak"),
        {"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(b"s" * 32).decode()},
    ]
    file.write_text(json.dumps({"keys": keys}))
    issuer = issuer | {"weak": weak}
    return file, issuer


@pytest.fixture(scope="module")
def server(database, bucket, jwks):
    env = api.environment(
        database,
        bucket,
        MEDIALANE_AUTH_JWKS=str(jwks[0]),
        MEDIALANE_AUTH_ISSUER=ISSUER,
        MEDIALANE_AUTH_AUDIENCE=AUDIENCE,
        MEDIALANE_AUTH_LEEWAY_S="5",
    )
    with api.running(env) as started:
        yield started


@pytest.fixture
async def slug(caller, operator):
    return await operator.slug(caller.tenant_id)


def claims(slug, **change):
    now = int(time.time())
    made = {"iss": ISSUER, "aud": AUDIENCE, "sub": "robot", "tenant": slug, "iat": now, "exp": now + 3600}
    return {name: value for name, value in (made | {"scope": "assets:read assets:write"} | change).items() if value}


async def get(caller, token):
    status, answer, _ = await caller.call("GET", "/api/v1/assets", key=token)
    return status if status == 200 else (status, answer["code"])


@pytest.mark.parametrize("algorithm", _MADE)
async def test_a_good_token_speaks_for_its_tenant_within_its_scopes(caller, slug, jwks, algorithm):
    token = jwt.encode(claims(slug), jwks[1][algorithm], algorithm, headers={"kid": algorithm})
    asset_id = (await caller.presign())["assetId"]
    status, answer, _ = await caller.call("GET", f"/api/v1/assets/{asset_id}", key=token)
    assert (status, answer["data"]["id"]) == (200, asset_id)
    assert (await caller.call("GET", "/api/v1/webhooks", key=token))[0] == 403


async def test_an_asset_names_the_subject_of_the_token_that_it_came_by_whatever_is_in_it(caller, slug, jwks):
    for subject, shown in (("robot", "robot"), ("J\u00f6\u0000\ud800", "J\u00f6??")):
        token = jwt.encode(claims(slug, sub=subject), jwks[1]["ES256"], "ES256", headers={"kid": "ES256"})
        body = {"fileName": "a.jpg", "contentType": "image/jpeg", "size": 5}
        status, answer, _ = await caller.call("POST", "/api/v1/storage/presign", body, key=token)
        assert status == 200, answer
        asset = (await caller.call("GET", f"/api/v1/assets/{answer['data']['assetId']}"))[1]["data"]
        assert asset["createdBy"] == f"token:{shown}"


@pytest.mark.parametrize(
    "change",
    [{"exp": 4_000_000_000_000}, {"exp": 10**30}, {"iss": "https://other.example"}, {"aud": "other"}, {"exp": 1}, {"nbf": 4_000_000_000}, {"tenant": "nobody-here"},
     {"tenant": None}, {"exp": None}, {"sub": None}, {"aud": None}, {"iss": None}, {"tenant": ["a"]}],
)  # fmt: skip
async def test_a_token_with_other_claims_is_refused(caller, slug, jwks, change):
    token = jwt.encode(claims(slug, **change), jwks[1]["ES256"], "ES256", headers={"kid": "ES256"})
    assert await get(caller, token) == (401, "unauthenticated")


async def test_a_token_that_expired_within_the_leeway_is_good(caller, slug, jwks):
    token = jwt.encode(claims(slug, exp=int(time.time()) + 1), jwks[1]["ES256"], "ES256", headers={"kid": "ES256"})
    assert await get(caller, token) == 200


async def test_unsigned_confused_weak_and_strange_tokens_are_refused(caller, slug, jwks):
    keys = jwks[1]
    pem = (
        keys["RS256"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    good = jwt.encode(claims(slug), keys["ES256"], "ES256", headers={"kid": "ES256"})
    head, body, signature = good.split(".")
    bad = {
        "none": jwt.encode(claims(slug), None, "none", headers={"kid": "ES256"}),
        "public key as secret": _hs256({"kid": "RS256"}, claims(slug), pem),
        "shared secret of the set": _hs256({"kid": "shared"}, claims(slug), b"s" * 32),
        "another algorithm's key": jwt.encode(claims(slug), keys["EdDSA"], "EdDSA", headers={"kid": "ES256"}),
        "RS512": jwt.encode(claims(slug), keys["RS256"], "RS512", headers={"kid": "RS256"}),
        "weak": jwt.encode(claims(slug), keys["weak"], "RS256", headers={"kid": "weak"}),
        "unknown key": jwt.encode(claims(slug), keys["ES256"], "ES256", headers={"kid": "other"}),
        "no key id": jwt.encode(claims(slug), keys["ES256"], "ES256"),
        "changed": f"{head}.{body[:-2]}AA.{signature}",
        "no signature": f"{head}.{body}.",
        "long": "a." * 5000,
        "words": "nonsense.but.three",
    }
    for name, token in bad.items():
        assert await get(caller, token) == (401, "unauthenticated"), name


def _hs256(header, body, secret):
    """By hand: libraries refuse to make such a token."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT"} | header, body)
    ]
    signature = hmac.digest(secret, b".".join(parts), hashlib.sha256)
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


async def test_without_a_jwks_no_token_is_taken(env, new_caller, jwks, slug):
    token = jwt.encode(claims(slug), jwks[1]["ES256"], "ES256", headers={"kid": "ES256"})
    with api.running(env) as started:
        caller = await new_caller(started.address)
        assert await get(caller, token) == (401, "unauthenticated")


def test_a_jwks_without_issuer_and_audience_is_no_setting(env, jwks):
    server = api.Server(env | {"MEDIALANE_AUTH_JWKS": str(jwks[0])})
    assert server.wait() != 0
    assert "MEDIALANE_AUTH_ISSUER" in str(server.log)
