"""A film's colours are its source's, in every variant, and each variant tells which they are."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from schemas.profiles import CATALOGUE
from schemas.states import Stage

COLOUR = (40, 200, 90)
BT709 = dict.fromkeys(("color_space", "color_transfer", "color_primaries"), "bt709") | {"color_range": "tv"}
SD, HD = "720x576", "1280x720"
TOLD_601 = ("-colorspace", "smpte170m", "-color_primaries", "smpte170m", "-color_trc", "smpte170m")
FULL_709 = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "pc")
WIDE = "zscale=pin=bt709:tin=bt709:min=bt709:rin=tv:p=bt2020:t=2020_10:m=2020_ncl:r=tv"
TOLD_WIDE = ("-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", "bt2020-10")
FILMS = {
    "BT.601": (SD, "out_color_matrix=bt601:out_range=tv", TOLD_601),
    "small and untold": (SD, "out_color_matrix=bt601:out_range=tv", ()),
    "HD and untold": (HD, "out_color_matrix=bt709:out_range=tv", ()),
    "full range": (HD, "out_color_matrix=bt709:out_range=pc", FULL_709),
    "BT.2020 without HDR": (HD, f"out_color_matrix=bt709:out_range=tv,format=yuv420p10le,{WIDE}", TOLD_WIDE),
}


def film(path, size, conversion, tags, colour=COLOUR):
    source = "color=c=0x{:02x}{:02x}{:02x}:s={}:r=5:d=1,format=rgb24".format(*colour, size)
    depth = "" if "10le" in conversion else ",format=yuv420p"
    # Only ffmpeg's own words for what is not told would be written otherwise.
    untold = (
        [] if tags else ["-bsf:v", "h264_metadata=matrix_coefficients=2:colour_primaries=2:transfer_characteristics=2"]
    )
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", f"{source},scale={conversion}{depth}"]
    subprocess.run([*command, "-c:v", "libx264", "-qp", "0", *tags, *untold, path], check=True)
    return path


def shown(path):
    """The colour in the middle of a film of BT.709 in limited range, 0 to 255."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", path, "-frames:v", "1", "-f", "rawvideo", "-"]
    command[-1:-1] = ["-vf", "crop=2:2:40:40", "-pix_fmt", "yuv444p"]
    y, cb, cr = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, "u1")[::4].astype(float)
    light, blue, red = (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    r, b = light + 1.5748 * red, light + 1.8556 * blue
    return 255 * np.array([r, (light - 0.2126 * r - 0.0722 * b) / 0.7152, b])


@pytest.mark.parametrize(("size", "conversion", "tags"), FILMS.values(), ids=FILMS)
def test_colours_stay_and_are_told(bench, ffprobe, size, conversion, tags, tmp_path):
    path = film(tmp_path / "a.mp4", size, conversion, tags)
    (tmp_path / "out").mkdir()
    made, _ = bench.run(path, tmp_path / "out", Stage.VIDEO_PRIMARY)
    films = [made["video_720p"].path, made["preview"].path]
    made_too, _ = bench.run(path, tmp_path / "out", Stage.VIDEO_LADDER)
    films += sorted(Path(made_too["hls"].path).parent.glob("*p.mp4"))
    assert len(films) >= 4
    for each in films:
        told = ffprobe(each)["video"]
        assert {name: told.get(name) for name in BT709} == BT709, each
        assert np.abs(shown(each) - COLOUR).max() < 6, (each, shown(each))
    pictures = [made["poster"].path, Path(made_too["storyboard"].path).with_name("storyboard.jpg")]
    for each in pictures:
        with Image.open(each) as picture:
            assert np.abs(np.asarray(picture.convert("RGB")).astype(int)[40, 40] - COLOUR).max() < 8, each


@pytest.mark.parametrize(("transfer", "code"), [("smpte2084", 0.5807), ("arib-std-b67", 0.75)])
def test_the_white_of_an_hdr_film_is_as_bright_as_an_hdr_pictures(bench, transfer, code, tmp_path):
    """At about 90 % of the screen's: `code` is 203 cd/m2."""
    luma = round((16 + 219 * code) * 4)
    source = f"color=s=320x180:r=5:d=1,format=yuv420p10le,geq=lum={luma}:cb=512:cr=512"
    path = tmp_path / "a.mp4"
    tags = ["-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc"]
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-qp", "0"]
    subprocess.run([*command, *tags, path], check=True)
    made, _ = bench.run(path, tmp_path, Stage.VIDEO_PRIMARY, [CATALOGUE["video_720p"]])
    assert shown(made["video_720p"].path) == pytest.approx(0.9 * 255, abs=8)
