"""Sizes of variants: fitted, never above the source, from one decode."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.images.pipeline import Size, base_size, crop_size, encoded, scaled_size
from processors.video.graph import poster_at, target_size
from processors.video.probe import Clip
from schemas.profiles import DEFAULT_PROFILES, profiles_for
from schemas.states import Stage

PROFILES = {profile.name: profile for profile in DEFAULT_PROFILES}
IMAGES = profiles_for(Stage.IMAGE_PRIMARY)
sides = st.integers(1, 16_384)


@pytest.mark.parametrize(
    ("source", "name", "expected"),
    [
        ((4000, 3000), "display_large", (1280, 960)),
        ((3000, 4000), "display_large", (1280, 1707)),
        ((4000, 3000), "display_small", (512, 384)),
        ((4000, 3000), "thumbnail", (341, 256)),
        ((600, 400), "display_large", (600, 400)),
        ((100, 50), "thumbnail", (100, 50)),
        ((3000, 1), "display_large", (1280, 1)),
        ((3000, 1), "thumbnail", (3000, 1)),
        ((1000, 16_384), "display_large", (1000, 16_383)),
    ],
)
def test_pictures_are_fitted(source, name, expected):
    assert scaled_size(Size(*source), PROFILES[name]) == expected


@given(sides, sides)
def test_one_decode_serves_every_profile_and_nothing_is_enlarged(width, height):
    source = Size(width, height)
    base = base_size(source, IMAGES)
    assert source.holds(base)
    for profile in IMAGES:
        assert base.holds(scaled_size(source, profile))
        assert min(scaled_size(source, profile)) >= 1


@pytest.mark.parametrize(
    ("source", "expected"),
    [((4000, 3000), (256, 256)), ((100, 50), (50, 50)), ((300, 100), (100, 100)), ((3000, 1), (1, 1))],
)
def test_a_crop_has_its_boxs_shape_and_is_never_enlarged(source, expected):
    thumbnail = PROFILES["thumbnail"]
    assert crop_size(scaled_size(Size(*source), thumbnail), thumbnail) == expected


def test_a_box_is_fitted_into():
    inside = msgspec.structs.replace(PROFILES["display_large"], fit="inside", width=800, height=800)
    assert scaled_size(Size(4000, 3000), inside) == (800, 600)
    assert scaled_size(Size(3000, 4000), inside) == (600, 800)
    assert scaled_size(Size(300, 400), inside) == (300, 400)


class Stretchy:
    """A picture whose file has 100 bytes a quality."""

    def __init__(self):
        self.asked = []

    def encoded(self, image_format, quality):
        self.asked.append(quality)
        return bytes(100 * quality)


@pytest.mark.parametrize(("target", "size"), [(None, 8000), (9000, 8000), (8000, 8000), (5050, 5000), (10, 2000)])
def test_the_quality_is_lowered_until_the_file_fits(target, size):
    picture = Stretchy()
    profile = msgspec.structs.replace(PROFILES["display_large"], target_bytes=target)
    assert len(encoded(picture, profile)) == size
    assert len(picture.asked) <= 8


def clip(width, height, **more):
    return Clip("mov", width, height, more.pop("duration_s", 5.0), 30.0, 0, None, hdr=False, interlaced=False)


@pytest.mark.parametrize(
    ("source", "name", "expected"),
    [
        ((1920, 1080), "video_720p", (1280, 720)),
        ((1920, 1080), "preview", (854, 480)),
        ((1920, 1080), "poster", (640, 360)),
        ((1080, 1920), "video_720p", (406, 720)),
        ((641, 479), "video_720p", (640, 478)),
        ((320, 240), "preview", (320, 240)),
        ((3, 3), "poster", (2, 2)),
        ((1, 1), "poster", (2, 2)),
    ],
)
def test_videos_are_fitted_to_even_sides(source, name, expected):
    assert target_size(clip(*source), PROFILES[name]) == expected


@given(st.integers(1, 8192), st.integers(1, 8192), st.sampled_from(profiles_for(Stage.VIDEO_PRIMARY)))
def test_videos_are_never_enlarged(width, height, profile):
    made = target_size(clip(width, height), profile)
    assert made[0] % 2 == made[1] % 2 == 0
    assert made[0] <= max(2, width)
    assert made[1] <= max(2, height)


@pytest.mark.parametrize(("duration", "at"), [(10.0, 2.0), (1.0, 0.5), (0.04, 0.02), (None, 0.0)])
def test_the_poster_is_looked_for_inside_the_clip(duration, at):
    assert poster_at(duration) == at
