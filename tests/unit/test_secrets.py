"""Secrets at rest."""

import base64

import pytest

from connectors.secrets import SecretBox, SecretUnreadableError

KEY = base64.b64encode(bytes(range(32))).decode()


def test_what_is_sealed_can_be_opened_and_looks_different_every_time():
    box = SecretBox(KEY)
    sealed = box.seal(b"hush")
    assert box.open(sealed) == b"hush"
    assert b"hush" not in sealed
    assert box.seal(b"hush") != sealed


@pytest.mark.parametrize("position", [0, 1, 15, -1])
def test_a_changed_text_is_refused(position):
    box = SecretBox(KEY)
    sealed = bytearray(box.seal(b"hush"))
    sealed[position] ^= 1
    with pytest.raises(SecretUnreadableError):
        box.open(bytes(sealed))


def test_another_key_or_no_text_is_refused():
    with pytest.raises(SecretUnreadableError, match="another key"):
        SecretBox(base64.b64encode(bytes(32)).decode()).open(SecretBox(KEY).seal(b"hush"))
    with pytest.raises(SecretUnreadableError):
        SecretBox(KEY).open(b"")
    with pytest.raises(SecretUnreadableError):
        SecretBox(KEY).open(b"\x01short")


@pytest.mark.parametrize("key", ["", "AAAA", "not base64!", base64.b64encode(bytes(16)).decode()])
def test_a_wrong_key_says_how_to_make_a_right_one(key):
    with pytest.raises(ValueError, match="openssl rand"):
        SecretBox(key)
