"""The API's parts that need no server: names, cursors, keys of signatures, the authenticator's memory."""

import base64
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.principals import principal as known

from api import principals
from api.announcing import safe_name
from api.cursors import position_cursor, position_in
from api.principals import Authenticator
from api.webhooks.signing_keys import shown, signing_key
from connectors.postgres.paging import Position
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.scopes import Scope, permits


@given(st.text(max_size=300))
def test_a_safe_name_is_one_path_part_of_plain_characters(name):
    safe = safe_name(name)
    assert 1 <= len(safe) <= 100
    assert set(safe) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert not safe.startswith(".")


@pytest.mark.parametrize(
    ("name", "safe"), [("a b.jpg", "a_b.jpg"), ("photo.JPEG", "photo.JPEG"), ("..", "file"), ("", "file"), ("x", "x")]
)
def test_a_safe_name_keeps_what_it_can(name, safe):
    assert safe_name(name) == safe


@given(st.integers(0, 200_000_000_000_000_000), st.uuids())
def test_a_cursor_comes_back_as_it_was(micros, asset_id):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    assert position_in(position_cursor(Position(moment, asset_id))) == Position(moment, asset_id)


@given(st.one_of(st.text(max_size=40), st.binary(max_size=40).map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
def test_what_is_no_cursor_is_refused_or_read_never_worse(text):
    try:
        position_in(text)
    except MedialaneError as error:
        assert (error.code, error.field) == (ErrorCode.INVALID_REQUEST, "cursor")


@given(st.text(min_size=1, max_size=256))
def test_any_secret_is_a_key_and_shows_as_one(text):
    key = signing_key(text)
    assert key
    assert base64.b64decode(shown(key).removeprefix("whsec_")) == key
    if not text.startswith("whsec_"):
        assert key == text.encode()


@pytest.mark.parametrize(("length", "decoded"), [(23, False), (24, True), (64, True), (65, False)])
def test_a_standard_secret_is_decoded_if_it_is_of_a_standard_length(length, decoded):
    text = shown(b"k" * length)
    assert signing_key(text) == (b"k" * length if decoded else text.encode())


def test_admin_may_do_all_and_others_what_they_say():
    assert all(permits({"admin"}, scope) for scope in Scope)
    assert permits({"assets:read"}, Scope.ASSETS_READ)
    assert not permits({"assets:read"}, Scope.ASSETS_WRITE)
    assert not permits(set(), Scope.ASSETS_READ)


class Memory:
    """An authenticator over a table in memory, with a clock that tests move."""

    def __init__(self, monkeypatch):
        self.keys, self.looked_up, self.seconds = {}, 0, 100.0
        monkeypatch.setattr(principals, "authenticate", self.authenticate)
        monkeypatch.setattr(principals.time, "monotonic", lambda: self.seconds)
        self.authenticator = Authenticator(self)

    @asynccontextmanager
    async def transaction(self):
        yield None

    async def authenticate(self, _connection, text, *, now):
        self.looked_up += 1
        return self.keys.get(text.removeprefix("mp_"))

    async def status(self, text):
        try:
            return (await self.authenticator.principal(f"Bearer mp_{text}")).slug
        except MedialaneError as error:
            return error.status


@pytest.fixture
def memory(monkeypatch):
    return Memory(monkeypatch)


def principal(expires_at=None):
    return known(key_id=uuid7(), slug="acme", expires_at=expires_at)


async def test_a_key_is_remembered_for_a_moment_and_no_longer(memory):
    memory.keys["good"] = principal()
    assert [await memory.status("good") for _ in range(3)] == ["acme"] * 3
    assert memory.looked_up == 1
    del memory.keys["good"]
    memory.seconds += principals.REMEMBERED_S - 0.1
    assert await memory.status("good") == "acme"
    memory.seconds += 0.2
    assert await memory.status("good") == 401
    assert await memory.status("good") == 401


async def test_what_is_no_key_is_never_remembered(memory):
    assert await memory.status("later") == 401
    memory.keys["later"] = principal()
    assert await memory.status("later") == "acme"


async def test_a_remembered_key_expires_on_time(memory):
    memory.keys["short"] = principal(datetime.now(UTC) + timedelta(hours=1))
    assert await memory.status("short") == "acme"
    memory.authenticator._known = {
        digest: (until, principal(datetime.now(UTC) - timedelta(seconds=1)))
        for digest, (until, _) in memory.authenticator._known.items()
    }
    assert await memory.status("short") == 401
