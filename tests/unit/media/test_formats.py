"""Choosing a format by Accept, and which variants are one picture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.media.formats import choose, names_of, picture_of, pictures_of
from schemas.events import Variant
from schemas.profiles import CATALOGUE

AVIF, WEBP, JPEG = "image/avif", "image/webp", "image/jpeg"
ALL = (WEBP, AVIF, JPEG)
CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "there", "best"),
    [
        (CHROME, ALL, AVIF),
        (CHROME, (WEBP, JPEG), WEBP),
        ("image/webp,image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5", ALL, WEBP),
        ("image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", ALL, JPEG),  # of any age
        ("*/*", ALL, JPEG),
        ("", ALL, JPEG),
        ("*/*", (WEBP, AVIF), WEBP),
        ("image/*", (AVIF,), AVIF),
        ("image/jpeg", ALL, JPEG),
        ("image/jpeg;q=0.9, image/webp;q=0.8", ALL, JPEG),
        ("image/avif;q=0, */*", (AVIF, WEBP), WEBP),
        ("image/avif;q=0, */*", (AVIF,), None),
        ("IMAGE/WebP ; Q=0.7", ALL, WEBP),
        ("image/png", ALL, None),
        ("text/html", (WEBP,), None),
        ("image/webp;q=nonsense", (WEBP,), None),
        ("image/webp;q=2", (WEBP,), None),
        (",;=,", (WEBP,), None),
    ],
)
def test_the_best_that_is_allowed(accept, there, best):
    assert choose(accept, there) == best
    assert choose(accept, there[::-1]) == best


@given(st.text(max_size=60) | st.lists(st.sampled_from([*ALL, "image/*", "*/*", ";q=0.1", ",", "q=0"])).map("".join))
def test_whatever_is_sent_only_what_is_there_is_chosen(accept):
    assert choose(accept, ALL) in {*ALL, None}


def variant(profile, content_type):
    return Variant(
        profile=profile, content_type=content_type, width=1, height=1, size=1, sha256="00", object_key=f"media/{profile}"
    )  # fmt: skip


def test_every_profile_of_ours_is_found_by_its_pictures_name():
    pictures = {}
    for profile in CATALOGUE.values():
        name = picture_of(variant(profile.name, profile.content_type))
        if name is not None:
            assert profile.name in names_of(name)
            pictures.setdefault(name, set()).add(profile.content_type)
    three = {name for name, kinds in pictures.items() if kinds == set(ALL)}
    assert three == {"thumbnail", "display_small", "display_large"}
    assert pictures["poster"] == {JPEG}
    assert pictures.keys() - three == {"poster", "animation"}


def test_tenants_own_profiles_are_put_together_by_the_same_rule():
    made = [
        variant("hero", WEBP), variant("hero_avif", AVIF), variant("odd_avif", WEBP), variant("odd", WEBP),
        variant("hls", "application/vnd.apple.mpegurl"), variant("waveform", "image/png"),
    ]  # fmt: skip
    assert [tuple(each) for each in pictures_of(made)] == [("hero", (AVIF, WEBP))]
    assert picture_of(made[2]) == "odd_avif"
