"""HLS playlists: what ffmpeg wrote is read, and the master playlist is written with bandwidths that were measured."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_SEGMENT = re.compile(r"#EXTINF:([\d.]+),.*\n(?:#(?!EXTINF).*\n)*?#EXT-X-BYTERANGE:(\d+)")
_CODECS = re.compile(r'RESOLUTION=(\d+x\d+).*?CODECS="([^"]+)"')


class Media(NamedTuple):
    """What a media playlist says of its file: seconds, and bits per second on average and at most."""

    duration_s: float
    average: int
    peak: int


class Stream(NamedTuple):
    """A rung in the master playlist; sizes in pixels."""

    name: str
    width: int
    height: int
    media: Media


def read_media(text: str) -> Media:
    """Measure a media playlist. Raises `ValueError` if it names no segment."""
    segments = [(float(seconds), int(size) * 8) for seconds, size in _SEGMENT.findall(text) if float(seconds) > 0]
    if not segments:
        raise ValueError("a playlist without segments")
    longest = max(seconds for seconds, _ in segments)
    total = sum(seconds for seconds, _ in segments)
    # A short rest at the end, a key frame and little more, says nothing about the bandwidth that playing needs.
    peak = max(bits / seconds for seconds, bits in segments if seconds >= longest / 2)
    average = sum(bits for _, bits in segments) / total
    # Of a film that hardly moves, such a rest may still weigh more than all before it.
    return Media(total, round(average), round(max(peak, average)))


def codecs_of(text: str) -> dict[str, str]:
    """The codecs of each resolution that a master playlist names."""
    return dict(_CODECS.findall(text))


def master(streams: Sequence[Stream], codecs: dict[str, str], *, fps: float, audio: Media | None) -> str:
    """The master playlist, the best rung first. Names are relative: it plays from wherever its folder lies."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    if audio:
        lines.append(
            '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",'
            'URI="audio.m3u8"'
        )
    for name, width, height, media in streams:
        size = f"{width}x{height}"
        facts = [
            f"BANDWIDTH={media.peak + (audio.peak if audio else 0)}",
            f"AVERAGE-BANDWIDTH={media.average + (audio.average if audio else 0)}",
            f"RESOLUTION={size}",
            *([f"FRAME-RATE={fps:.3f}"] if fps else []),
            *([f'CODECS="{codecs[size]}"'] if size in codecs else []),
            *(['AUDIO="audio"'] if audio else []),
        ]
        lines += [f"#EXT-X-STREAM-INF:{','.join(facts)}", f"{name}.m3u8"]
    return "\n".join(lines) + "\n"


def read_file(path: Path) -> str:
    """A playlist's text. Raises `ValueError` if there is none."""
    if not path.is_file():
        raise ValueError(f"{path.name} was not written")
    return path.read_text(encoding="utf-8")
