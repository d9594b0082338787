"""Signed addresses: what was signed is opened, by old keys too, and nothing else is."""

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.media.addresses import Addresses, Place, end_of
from api.media.grants import Grant, GrantSigner, object_id
from schemas.errors import ErrorCode, MedialaneError
from schemas.events import Variant
from schemas.ids import uuid7
from schemas.settings import ApiSettings, MediaSettings, SettingsError, load

KEY, OTHER, THIRD = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))
NOW = 1_800_000_000.0
GRANTS = st.builds(
    Grant,
    tenant_id=st.uuids(),
    asset_id=st.uuids(),
    name=st.text(string.ascii_lowercase + string.digits + "_", min_size=1, max_size=40),
    object_id=st.none() | st.binary(min_size=8, max_size=8).filter(any),
    ends_at=st.integers(int(NOW) + 1, 2**32 - 1),
)
TOKEN_LETTERS = string.ascii_letters + string.digits + "-_"


def refusal(signer, token, now=NOW):
    with pytest.raises(MedialaneError) as caught:
        signer.open(token, now=now)
    assert caught.value.status == 403
    return caught.value.code


@given(GRANTS)
def test_what_is_sealed_is_opened_and_fits_into_a_path(grant):
    token = GrantSigner(KEY).seal(grant)
    assert set(token) <= set(TOKEN_LETTERS)
    assert GrantSigner(KEY).open(token, now=NOW) == grant


@given(GRANTS, st.data())
def test_any_flipped_bit_is_refused(grant, data):
    signer = GrantSigner(KEY)
    token = signer.seal(grant)
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    place = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[place // 8] ^= 1 << place % 8
    assert refusal(signer, base64.urlsafe_b64encode(raw).rstrip(b"=").decode()) is ErrorCode.ADDRESS_INVALID


@given(GRANTS, st.data())
def test_any_other_letter_is_refused_even_one_that_spells_the_same_bytes(grant, data):
    signer = GrantSigner(KEY)
    token = signer.seal(grant)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from(TOKEN_LETTERS).filter(lambda each: each != token[place]))
    assert refusal(signer, token[:place] + letter + token[place + 1 :]) is ErrorCode.ADDRESS_INVALID


@given(GRANTS, st.integers(1, 60))
def test_a_shortened_or_lengthened_token_is_refused(grant, count):
    signer = GrantSigner(KEY)
    token = signer.seal(grant)
    for changed in (token[:-count], token[count:], token + "A" * count, token + "="):
        assert refusal(signer, changed) is ErrorCode.ADDRESS_INVALID


@given(st.text(max_size=700))
def test_what_is_no_token_is_refused(text):
    assert refusal(GrantSigner(KEY), text) is ErrorCode.ADDRESS_INVALID


GRANT = Grant(tenant_id=uuid7(), asset_id=uuid7(), name="hls", object_id=b"12345678", ends_at=int(NOW) + 60)


def test_old_keys_are_still_taken_and_the_present_one_signs():
    before, turned = GrantSigner(OTHER), GrantSigner(KEY, [OTHER, THIRD])
    assert turned.open(before.seal(GRANT), now=NOW) == GRANT
    assert turned.seal(GRANT) == GrantSigner(KEY).seal(GRANT) != before.seal(GRANT)
    assert refusal(GrantSigner(KEY), before.seal(GRANT)) is ErrorCode.ADDRESS_INVALID


def test_keys_may_be_swapped_while_processes_of_both_settings_run():
    first = [GrantSigner(OTHER), GrantSigner(OTHER, [KEY])]
    second = [GrantSigner(OTHER, [KEY]), GrantSigner(KEY, [OTHER])]
    for step in (first, second):
        for signs in step:
            assert [takes.open(signs.seal(GRANT), now=NOW) for takes in step] == [GRANT, GRANT]


@pytest.mark.parametrize("now", [NOW + 60, NOW + 1e6])
def test_an_end_is_an_end(now):
    signer = GrantSigner(KEY)
    assert signer.open(signer.seal(GRANT), now=NOW + 59.9) == GRANT
    assert refusal(signer, signer.seal(GRANT), now) is ErrorCode.ADDRESS_EXPIRED


def test_a_forged_token_does_not_tell_whether_it_has_expired():
    assert refusal(GrantSigner(KEY), GrantSigner(OTHER).seal(GRANT), NOW + 61) is ErrorCode.ADDRESS_INVALID


def test_a_setting_that_is_no_key_names_itself():
    with pytest.raises(SettingsError) as caught:
        GrantSigner.of(MediaSettings(signing_key="short", signing_key_old=(KEY, "AAAA")))
    assert [problem.split(" ")[0] for problem in caught.value.problems] == [
        "MEDIALANE_MEDIA_SIGNING_KEY", "MEDIALANE_MEDIA_SIGNING_KEY_OLD",
    ]  # fmt: skip


@given(st.floats(1e9, 4e9), st.integers(60, 604_800), st.none() | st.floats(0, 14_400))
def test_an_address_lives_for_about_its_time_and_until_what_plays_has_played(now, ttl_s, duration_s):
    lives = end_of(now, ttl_s, duration_s) - now
    assert ttl_s * 3 / 4 - 1 <= lives - (duration_s or 0) <= ttl_s + 1


@pytest.mark.parametrize("address", ["media.example", "ftp://media.example", "https://", "https://a/?b", "https://a b"])
def test_a_base_that_paths_cannot_follow_names_its_setting(address):
    with pytest.raises(SettingsError, match="MEDIALANE_API_PUBLIC_ENDPOINT"):
        load(ApiSettings, {"MEDIALANE_API_HOST": "127.0.0.1", "MEDIALANE_API_PUBLIC_ENDPOINT": address})


def test_an_address_names_the_file_and_stays_the_same_for_a_while():
    now = NOW
    addresses = Addresses(GrantSigner(KEY), ttl_s=3600, clock=lambda: now)
    variant = Variant(
        profile="hls", content_type="application/vnd.apple.mpegurl", width=1, height=1, size=1, sha256="00",
        object_key="media/t/c/hls.v1-0123/hls.m3u8", duration_s=9.5,
    )  # fmt: skip
    place = Place("https://api.example.com/base/", uuid7(), uuid7())
    first = addresses.of_variant(place, variant)
    head, token, file = first.url.rsplit("/", 2)
    assert (head, file) == ("https://api.example.com/base/media", "hls.m3u8")
    assert first.expires_at.timestamp() == NOW + 3600 + 10
    granted = GrantSigner(KEY).open(token, now=now)
    assert granted == Grant(
        tenant_id=place.tenant_id, asset_id=place.asset_id, name="hls", object_id=object_id(variant.object_key),
        ends_at=int(NOW) + 3610,
    )  # fmt: skip
    now = NOW + 899
    assert addresses.of_variant(place, variant) == first
    now = NOW + 900
    assert addresses.of_variant(place, variant) != first
