"""Secrets at rest."""

import base64

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connectors.secrets import HEAD_BYTES, SecretBox, SecretUnreadableError
from schemas.settings import SettingsError, WebhookSettings

OTHER = base64.b64encode(bytes(32)).decode()
KEY = base64.b64encode(bytes(range(32))).decode()


def test_what_is_sealed_can_be_opened_and_looks_different_every_time():
    box = SecretBox(KEY)
    sealed = box.seal(b"hush")
    assert box.open(sealed) == b"hush"
    assert b"hush" not in sealed
    assert box.seal(b"hush") != sealed


@pytest.mark.parametrize("position", [0, 1, 8, 20, -1])
def test_a_changed_text_is_refused(position):
    box = SecretBox(KEY)
    sealed = bytearray(box.seal(b"hush"))
    sealed[position] ^= 1
    with pytest.raises(SecretUnreadableError):
        box.open(bytes(sealed))


def test_old_keys_open_and_the_present_one_seals():
    old, box = SecretBox(OTHER), SecretBox(KEY, [OTHER])
    sealed = old.seal(b"hush")
    assert box.open(sealed) == b"hush"
    again = box.again(sealed)
    assert again.startswith(box.head)
    assert SecretBox(KEY).open(again) == b"hush"
    with pytest.raises(SecretUnreadableError):
        SecretBox(KEY).open(sealed)


def test_what_was_sealed_before_keys_had_names_still_opens():
    sealed = b"\x01" + bytes(12) + AESGCM(bytes(32)).encrypt(bytes(12), b"hush", b"\x01")
    assert SecretBox(OTHER).open(sealed) == SecretBox(KEY, [OTHER]).open(sealed) == b"hush"
    with pytest.raises(SecretUnreadableError):
        SecretBox(KEY).open(sealed)


def test_keys_that_are_missing_are_named_by_how_sealed_texts_begin():
    box, other = SecretBox(KEY), SecretBox(OTHER)
    heads = [sealed[:HEAD_BYTES] for sealed in (box.seal(b"a"), other.seal(b"b"), b"\x01" + bytes(40))]
    assert box.missing(heads) == [other.key_id]
    assert SecretBox(KEY, [OTHER]).missing(heads) == []


def test_a_setting_that_is_no_key_names_itself():
    with pytest.raises(SettingsError) as caught:
        SecretBox.of(WebhookSettings(encryption_key=KEY, encryption_key_old=(OTHER, "short")))
    assert [problem.split(" ")[0] for problem in caught.value.problems] == ["MEDIALANE_WEBHOOK_ENCRYPTION_KEY_OLD"]


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
