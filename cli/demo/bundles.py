"""Variants that are several files: fetched as a player does, by the names in the first of them, and then checked."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urljoin

from cli.client import AssetVariant
from cli.demo.verdicts import Checks, expected_size
from cli.harness.measure import Measured, UnreadableError, measure_files
from schemas.profiles import Profile

Read = Callable[[str], Awaitable[bytes]]

_PLAYLIST, _CUES = "application/vnd.apple.mpegurl", "text/vtt"
_URI = re.compile(r'URI="([^"]+)"')
_CUE = re.compile(r"^(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)$", re.MULTILINE)
_RANGE = re.compile(r"#EXT-X-BYTERANGE:(\d+)@(\d+)")


def rungs(master: str) -> list[str]:
    """The playlists of a master playlist's pictures, the best first."""
    return [line for line in master.splitlines() if line and not line.startswith("#")]


def first_rung_only(master: str) -> str:
    """The master playlist as if it had its first rung only, with the sound beside."""
    head, _, _ = master.partition(f"{rungs(master)[0]}\n")
    return f"{head}{rungs(master)[0]}\n"


async def fetch_others(read: Read, variant: AssetVariant, content: bytes) -> dict[str, bytes]:
    """The files that a variant's first one names, by their names; none of one that is a single file.

    Of a master playlist: every playlist, and the media of its first rung and of its sound.
    """

    async def get(*names: str) -> dict[str, bytes]:
        return dict(
            zip(names, await asyncio.gather(*(read(urljoin(variant.url, name)) for name in names)), strict=True)
        )

    text = content.decode(errors="replace")
    if variant.content_type == _CUES:
        return await get(*sorted({found[0] for found in _CUE.findall(text)}))
    if variant.content_type != _PLAYLIST or not rungs(text):
        return {}
    playlists = await get(*dict.fromkeys([*rungs(text), *_URI.findall(text)]))
    played = [playlists[name].decode(errors="replace") for name in (rungs(text)[0], *_URI.findall(text))]
    media = {name for playlist in played for name in (*rungs(playlist), *_URI.findall(playlist))}
    return playlists | await get(*sorted(media))


async def check_bundle(
    checks: Checks, what: str, profile: Profile, variant: AssetVariant, files: Mapping[str, bytes], source: Measured
) -> Measured | None:
    """A ladder plays from its master playlist down to the bytes; a storyboard's cues lie in its sprite.

    `files` are all that were fetched, the variant itself first. Returns what one sees: the first rung, the sprite.
    """
    try:
        if profile.format == "hls":
            return await _check_ladder(checks, what, profile, variant, files, source)
        return await _check_storyboard(checks, what, profile, files, source)
    except (UnreadableError, LookupError) as error:
        checks.failed(f"{what}: opens: {error}")
        return None


async def _check_ladder(
    checks: Checks, what: str, profile: Profile, variant: AssetVariant, files: Mapping[str, bytes], source: Measured
) -> Measured:
    first = next(iter(files))
    master = files[first].decode()
    short = min(source.width, source.height)
    fitting = max(1, sum(rung.side <= short for rung in profile.rungs))
    checks.that(len(rungs(master)) == fitting, f"{what}: has {fitting} rungs, found {rungs(master)}")
    found = await measure_files({**files, first: first_rung_only(master).encode()}, first)
    width, height = expected_size(profile, source.width, source.height)
    near = abs(found.width - width) <= 1 and abs(found.height - height) <= 1
    checks.that(near, f"{what}: its first rung is {width}x{height} pixels, found {found.width}x{found.height}")
    lasts, announced = source.duration_s, variant.duration_s or 0.0
    checks.that(abs(found.duration_s - lasts) < 0.3, f"{what}: lasts {lasts:.2f} s, found {found.duration_s:.2f} s")
    checks.that(abs(announced - lasts) < 0.3, f"{what}: announced to last {lasts:.2f} s, found {announced:.2f} s")
    checks.that(found.sound == source.sound, f"{what}: {'has' if source.sound else 'has no'} sound")
    for name in (rungs(master)[0], *_URI.findall(master)):
        text = files[name].decode()
        end = max((int(size) + int(begin) for size, begin in _RANGE.findall(text)), default=0)
        whole = len(files[rungs(text)[0]])
        checks.that(end == whole, f"{what}: the segments of {name} end with their file of {whole} bytes, found {end}")
    return found._replace(format=profile.format)


async def _check_storyboard(
    checks: Checks, what: str, profile: Profile, files: Mapping[str, bytes], source: Measured
) -> Measured:
    cues = _CUE.findall(next(iter(files.values())).decode())
    checks.that(bool(cues), f"{what}: names pictures")
    found = await measure_files(files, cues[0][0])
    longest = min(profile.width or source.width, max(source.width, source.height))
    for name, x, y, width, height in cues:
        inside = int(x) + int(width) <= found.width and int(y) + int(height) <= found.height
        checks.that(inside and name == cues[0][0], f"{what}: {name}#xywh={x},{y},{width},{height} lies in the sprite")
        side = max(int(width), int(height))
        checks.that(abs(side - longest) <= 1, f"{what}: its pictures are {longest} pixels long, found {side}")
    return found._replace(format=profile.format)
