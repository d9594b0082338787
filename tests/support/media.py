"""Variants as a worker leaves them, and a reader of their addresses that knows nothing of our own."""

import asyncio
import hashlib
import subprocess
import time
from pathlib import Path

from yarl import URL

from api.media.grants import GrantSigner
from connectors.postgres.assets.variants import Addition, NewVariant, add_variants
from processors.contract import Source
from processors.pool import MediaPool
from schemas.profiles import profiles_for
from schemas.settings import ProcessorSettings
from schemas.states import Stage
from support.api import SIGNING_KEY


def ladder(folder):
    """A real ladder and storyboard of seven seconds with sound, by profile."""
    clip = folder / "clip.mp4"
    run(
        "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=10:duration=7",
        "-f", "lavfi", "-i", "sine=duration=7", "-pix_fmt", "yuv420p", "-preset", "ultrafast", str(clip),
    )  # fmt: skip
    source = Source(str(clip), clip.stat().st_size, "video/mp4", "clip.mp4")
    return {each.profile: each for each in asyncio.run(_processed(source, folder))}


async def _processed(source, folder):
    pool = MediaPool(ProcessorSettings(), workers=1, folder=folder)
    pool.start()
    try:
        renditions, _ = await pool.process(Stage.VIDEO_LADDER, source, folder, profiles_for(Stage.VIDEO_LADDER))
    finally:
        await pool.close(0)
    return renditions


def content_of(rendition, name=None):
    """The bytes of a rendition's own file, or of one beside it."""
    path = Path(rendition.path)
    return (path.with_name(name) if name else path).read_bytes()


def variant(profile, key, content_type, content, *, parts=(), duration_s=None):
    return NewVariant(
        profile=profile, profile_version=1, content_sha256=b"c" * 32, object_key=key, content_type=content_type,
        format=content_type.rpartition("/")[2], width=1280, height=720, duration_s=duration_s, size=len(content),
        sha256=hashlib.sha256(content).digest(), parts=tuple(parts),
    )  # fmt: skip


def thumbnail(key, *, content_sha256=b"c" * 32):
    """A variant of five bytes, for tests that never look into it."""
    return NewVariant(
        profile="thumbnail", profile_version=1, content_sha256=content_sha256, object_key=key,
        content_type="image/webp", format="webp", width=256, height=256, duration_s=None, size=5, sha256=b"v" * 32,
    )  # fmt: skip


async def add(operator, caller, asset_id, *variants):
    async with operator.database.transaction() as connection:
        await add_variants(connection, [Addition(caller.tenant_id, asset_id, 1, variants)])


async def show(caller, asset_id):
    status, answer, _ = await caller.call("GET", f"/api/v1/assets/{asset_id}")
    assert status == 200, answer
    return answer["data"]


async def urls(caller, asset_id):
    return {each["profile"]: each["url"] for each in (await show(caller, asset_id))["variants"]}


async def get(session, url, method="GET", *, follow=True, **headers):
    """(status, bytes, headers), asked without any key."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with session.request(method, URL(url, encoded=True), headers=sent, allow_redirects=follow) as response:
        return response.status, await response.read(), response.headers


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)


def granted(url):
    return GrantSigner(SIGNING_KEY).open(URL(url).parts[-2], now=time.time())


def address(caller, grant, name):
    return f"{caller.base}/media/{GrantSigner(SIGNING_KEY).seal(grant)}/{name}"
