"""Real photos and videos to work on: Debian's forensics-samples-files, and a clip of known cost made by ffmpeg.

Nothing is downloaded and nothing is drawn: the demo, the bench and the tests use what a phone's camera wrote.
"""

import subprocess
from pathlib import Path
from typing import NamedTuple

PACKAGE = "forensics-samples-files"
_FOLDER = "original-files"
_PHOTOS = (
    "pic1/IMG_20200827_231612.jpg",
    "pic2/IMG_20200124_231153.jpg",  # stored upside down, with an orientation tag
    "pic2/IMG_20200608_111614.jpg",
    "pic2/IMG_20191224_234846.jpg",
)
_VIDEO = "movie1/VID_20191220_170832.mp4"


class MissingSamplesError(Exception):
    """The sample files are not there; the message says what to install."""


class Samples(NamedTuple):
    """Four photos of 4000x3000 pixels (JPEG), and a 1.6 s phone video of 1920x1080 (H.264, AAC)."""

    photos: tuple[Path, ...]
    video: Path


def find_samples() -> Samples:
    """Ask dpkg where the package put its files. Raises `MissingSamplesError`."""
    cure = f"install the Debian package {PACKAGE}: apt-get install {PACKAGE}"
    try:
        listed = subprocess.run(["dpkg", "-L", PACKAGE], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError as error:
        raise MissingSamplesError(f"There is no dpkg here, so the sample files cannot be found; {cure}") from error
    except subprocess.CalledProcessError as error:
        raise MissingSamplesError(f"The sample photos and videos are not installed; {cure}") from error
    by_name = {line.partition(f"/{_FOLDER}/")[2]: Path(line) for line in listed.splitlines()}
    wanted = (*_PHOTOS, _VIDEO)
    absent = [name for name in wanted if name not in by_name or not by_name[name].is_file()]
    if absent:
        raise MissingSamplesError(f"The sample files {', '.join(absent)} are gone; {cure} --reinstall")
    return Samples(tuple(by_name[name] for name in _PHOTOS), by_name[_VIDEO])


def distinct(content: bytes, mark: str) -> bytes:
    """The same picture in other bytes: a mark after a JPEG's end marker, which decoders ignore and hashes do not."""
    return content + b"medialane " + mark.encode()


def make_clip(path: Path, *, seconds: int = 10) -> Path:
    """A clip of 1080p30 H.264 with AAC sound (test pattern and a sine), as the reference system was measured with."""
    source = f"testsrc2=size=1920x1080:rate=30:duration={seconds}"
    sound = f"sine=frequency=440:duration={seconds}"
    command = [
        "ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", source, "-f", "lavfi", "-i", sound,
        "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest", str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return path


def make_pan(path: Path, *, seconds: int = 6) -> Path:
    """A slow pan over a real photo with a camera's grain: 1080p30 H.264 at 12 Mb/s in BT.709, as a phone writes it."""
    photo = find_samples().photos[0]
    frames = f"loop=loop={30 * seconds}:size=1,setpts=N/30/TB"
    pan = f"{frames},crop=1920:1080:x='(iw-1920)*t/{seconds}':y='(ih-1080)*t/{seconds}',noise=alls=8:allf=t"
    tags = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709"
    filters = f"{pan},scale=out_color_matrix=bt709:out_range=tv,{tags}"
    command = [
        "ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(photo), "-f", "lavfi", "-i", "sine=frequency=440",
        "-t", str(seconds), "-r", "30", "-vf", filters, "-c:v", "libx264", "-preset", "veryfast", "-b:v", "12M",
        "-g", "30", "-pix_fmt", "yuv420p", "-c:a", "aac", str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return path
