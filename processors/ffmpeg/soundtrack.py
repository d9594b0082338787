"""A soundtrack as every ffmpeg run hears it."""

from typing import Any

MOST_CHANNELS = 16
"""What has more is no soundtrack for people."""

_PLACED = 8  # up to so many channels ffmpeg has a place for each, and brings them to two by itself
_STEREO = 2


def heard(read: Any, stream: int, channels: int) -> Any:
    """One stream of an input, of at most two channels: so it is measured as it will be played, sums of channels too.

    Of many channels it keeps the first two as left and right, and has the rest in both.
    """
    sound = read[str(stream)]
    if channels <= _STEREO:
        return sound
    if channels <= _PLACED:
        return sound.filter("aformat", channel_layouts="stereo")
    rest = "".join(f"+0.7*c{number}" for number in range(2, channels))
    return sound.filter("pan", f"stereo|c0<c0{rest}|c1<c1{rest}")
