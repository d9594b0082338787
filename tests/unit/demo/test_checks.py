"""The demo's checks must be able to say no: each is given what it should refuse beside what it should accept."""

import subprocess
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID

import pytest

from cli.client import AssetVariant
from cli.demo.checks import check_variant, check_variants
from cli.demo.trace import check_trace, logged_traces
from cli.demo.verdicts import Checks, expected_size
from cli.harness.measure import Measured, UnreadableError, measure
from cli.harness.samples import distinct
from schemas.profiles import DEFAULT_PROFILES, profiles_for, stages_after
from schemas.states import Stage

PROFILES = {profile.name: profile for profile in DEFAULT_PROFILES}
PHOTO = Measured("jpeg", 4000, 3000, 0.0, sound=False, bright=0.9)
VIDEO = Measured("mp4", 1920, 1080, 1.6, sound=True, bright=0.9)
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
OTHER = "00-11111111111111111111111111111111-b7ad6b7169203331-01"


def picture(source, width, height, kind="webp", *extra):
    encoder = {"webp": ["-c:v", "libwebp"], "jpeg": ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"]}[kind]
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", f"{source}=size={width}x{height}"]
    container = {"webp": "webp", "jpeg": "image2pipe"}[kind]
    output = ["-frames:v", "1", *encoder, *extra, "-f", container, "pipe:1"]
    return subprocess.run([*command, *output], capture_output=True, check=True).stdout


def announced(profile, content, width, height):
    return AssetVariant(
        profile=profile,
        content_type="image/webp",
        width=width,
        height=height,
        size=len(content),
        sha256="",
        url="http://x",
        url_expires_at=datetime(2026, 1, 31, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("profile", "source", "size"),
    [
        ("thumbnail", (4000, 3000), (256, 256)),
        ("display_small", (4000, 3000), (512, 384)),
        ("display_large", (3000, 4000), (1280, 1707)),
        ("display_large", (800, 600), (800, 600)),
        ("video_720p", (1920, 1080), (1280, 720)),
        ("preview", (1920, 1080), (854, 480)),
        ("hls", (1920, 1080), (1920, 1080)),
        ("hls", (2160, 3840), (1080, 1920)),
        ("hls", (640, 400), (576, 360)),
        ("hls", (160, 120), (160, 120)),
    ],
)
def test_expected_sizes_never_grow(profile, source, size):
    assert expected_size(PROFILES[profile], *source) == size


async def test_a_right_variant_passes():
    checks, content = Checks(), picture("testsrc2", 512, 384)
    await check_variant(checks, "a", announced("display_small", content, 512, 384), {"a": content}, PHOTO)
    assert checks.failures == []
    assert checks.held == 6


@pytest.mark.parametrize(
    ("make", "size", "blamed"),
    [
        (lambda: picture("testsrc2", 512, 300), (512, 384), "512x384 pixels, found 512x300"),
        (lambda: picture("color", 512, 384), (512, 384), "not black"),
        (lambda: picture("testsrc2", 512, 384, "jpeg"), (512, 384), "is webp, found jpeg"),
        (lambda: b"<html>oops</html>", (512, 384), "decodes"),
        (lambda: picture("testsrc2", 512, 384)[:300], (512, 384), "decodes"),
    ],
)
async def test_a_wrong_variant_is_named(make, size, blamed):
    checks, content = Checks(), make()
    await check_variant(checks, "a", announced("display_small", content, *size), {"a": content}, PHOTO)
    assert any(blamed in failure for failure in checks.failures), checks.failures


async def test_another_length_than_announced_is_named():
    checks, content = Checks(), picture("testsrc2", 512, 384)
    variant = announced("display_small", content + b"more", 512, 384)
    await check_variant(checks, "a", variant, {"a": content}, PHOTO)
    assert len(checks.failures) == 1
    assert "bytes" in checks.failures[0]


def test_missing_and_doubled_profiles_are_named():
    stages = (Stage.IMAGE_PRIMARY, *stages_after(Stage.IMAGE_PRIMARY))
    variants = [announced(p.name, b"", 1, 1) for stage in stages for p in profiles_for(stage)]
    assert len(variants) == 7
    good, short, twice = Checks(), Checks(), Checks()
    check_variants(good, "a", Stage.IMAGE_PRIMARY, variants)
    check_variants(short, "a", Stage.IMAGE_PRIMARY, variants[1:])
    check_variants(twice, "a", Stage.IMAGE_PRIMARY, [*variants, variants[0]])
    assert [len(checks.failures) for checks in (good, short, twice)] == [0, 1, 1]


async def test_a_distinct_copy_is_the_same_picture():
    content = picture("testsrc2", 64, 64, "jpeg")
    assert distinct(content, "1") != distinct(content, "2")
    assert await measure(distinct(content, "1")) == await measure(content)


async def test_unknown_bytes_are_unreadable():
    with pytest.raises(UnreadableError, match="no WebP, JPEG, AVIF, MP4 or playlist"):
        await measure(b"\x00" * 64)


def outbox_row(kind="asset.ready", parent=PARENT):
    return SimpleNamespace(id=UUID(int=1), type=kind, traceparent=parent)


class Records:
    """Stands for the witness: the records found for any id."""

    def __init__(self, *parents):
        self._found = [SimpleNamespace(header=lambda _, parent=parent: parent) for parent in parents]

    def find(self, header, value):
        return self._found


def webhook(trace=TRACE):
    return SimpleNamespace(event_type="asset.ready", trace_id=trace)


@pytest.mark.parametrize(
    ("change", "blamed"),
    [
        ({}, None),
        ({"traceparent": None}, "complete answers"),
        ({"outbox": []}, "has outbox rows"),
        ({"outbox": [outbox_row(parent=OTHER)]}, "outbox row"),
        ({"witness": Records()}, "arrived once"),
        ({"witness": Records(PARENT, PARENT)}, "arrived once"),
        ({"witness": Records(OTHER)}, "carries trace"),
        ({"logged": set()}, "log"),
        ({"received": [webhook("2" * 32)]}, "webhook"),
    ],
)
def test_a_trace_broken_anywhere_is_named(change, blamed):
    checks = Checks()
    whole = {
        "traceparent": PARENT,
        "outbox": [outbox_row(), outbox_row()],
        "witness": Records(PARENT),
        "logged": {TRACE},
        "received": [webhook()],
    } | change
    check_trace(checks, "a", whole.pop("traceparent"), **whole)
    if blamed is None:
        assert checks.failures == []
    else:
        assert blamed in checks.failures[0]


def test_the_trace_of_presign_may_be_another():
    checks = Checks()
    check_trace(
        checks,
        "a",
        PARENT,
        outbox=[outbox_row("asset.created", OTHER), outbox_row()],
        witness=Records(PARENT),
        logged={TRACE},
        received=[SimpleNamespace(event_type="asset.created", trace_id="3" * 32)],
    )
    assert checks.failures == []


def test_traces_are_read_from_json_lines_only(tmp_path):
    log = tmp_path / "media-images.log"
    log.write_text(f'plain "trace_id" words\n{{"event":"job started","trace_id":"{TRACE}"}}\n{{"trace_id" broken\n')
    assert TRACE in logged_traces(tmp_path, "media-images")
    assert logged_traces(tmp_path, "media-video") == set()
