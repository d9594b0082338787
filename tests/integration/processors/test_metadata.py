"""Where a picture or a film was taken, by whom and with what, is in no byte of any output, whatever it came in."""

import subprocess
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from schemas.profiles import CATALOGUE, profiles_for
from schemas.states import Stage

pillow_heif.register_heif_opener()
MARK = "MARK-OF-A-PLACE"
PLACE = "+52.5200+013.4050/"
XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><exif:GPSLatitude>{MARK}</exif:GPSLatitude></x:xmpmeta>'.encode()
HIDDEN = [MARK.encode(), MARK.encode("utf-16-le"), PLACE[:8].encode(), b"Exif", b"EXIF", b"xmpmeta", b"GPS"]


def exif():
    made = Image.Exif()
    made[0x010E], made[0x010F], made[0x0112] = MARK, MARK, 6
    made.get_ifd(0x8825)[1], made.get_ifd(0x8825)[29] = "N", MARK
    made.get_ifd(0x8769)[0x927C] = MARK.encode()  # the maker's note
    return made


def texts():
    made = PngInfo()
    made.add_text("Comment", MARK)
    made.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return made


# What each can carry, and how many times the mark is then in it.
PICTURES = {
    "JPEG": ({"exif": exif(), "xmp": XMP, "comment": MARK.encode()}, 5),
    "PNG": ({"exif": exif(), "pnginfo": texts()}, 5),
    "WEBP": ({"exif": exif(), "xmp": XMP}, 4),
    "AVIF": ({"exif": exif(), "xmp": XMP}, 4),
    "HEIF": ({"exif": exif().tobytes(), "xmp": XMP}, 4),
    "TIFF": ({"exif": exif(), "tiffinfo": {700: XMP, 270: MARK}}, 2),
    "GIF": ({"comment": MARK.encode()}, 1),
}


def clean(made, folder):
    """No output, and nothing beside it, has a word of it; returns how many files that are."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {Path(rendition.path) for rendition in made.values()} <= set(files)
    for path in files:
        data = path.read_bytes()
        assert not [word for word in HIDDEN if word in data], path.name
    return len(files)


@pytest.mark.parametrize("name", PICTURES)
def test_no_picture_tells(bench, name, tmp_path):
    options, count = PICTURES[name]
    path, out = tmp_path / "in", tmp_path / "out"
    frames = [Image.radial_gradient("L").convert("RGB"), Image.new("RGB", (256, 256), "teal")]
    moving = {"save_all": True, "append_images": frames[1:]} if name in {"GIF", "WEBP", "PNG"} else {}
    frames[0].save(path, name, **options, **moving)
    assert path.read_bytes().count(MARK.encode()) >= count
    out.mkdir()
    chosen = [*profiles_for(Stage.IMAGE_AVIF), CATALOGUE["animation"], CATALOGUE["thumbnail_jpeg"]]
    made, _ = bench.run(path, out)
    more, _ = bench.run(path, out, Stage.IMAGE_AVIF, chosen)
    assert ("animation" in more) == bool(moving)
    assert clean(made | more, out) == len(made | more)


CHAPTERS = f";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=900\ntitle={MARK}\n"


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "apple.mov", "a.mkv", "a.avi"])
def test_no_film_tells(bench, make_video, name, tmp_path):
    source, path, out = make_video(size="426x240", sound=True), tmp_path / name, tmp_path / "out"
    (tmp_path / "chapters").write_text(CHAPTERS)
    told = [f"location={PLACE}", f"title={MARK}", f"comment={MARK}", f"com.apple.quicktime.location.ISO6709={PLACE}"]
    options = [part for text in told for part in ("-metadata", text)]
    options += ["-metadata:s:v", f"title={MARK}", "-metadata:s:a", f"handler_name={MARK}"]
    options += ["-movflags", "use_metadata_tags"] if name.startswith("apple") else []
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", source, "-i", tmp_path / "chapters", "-map_metadata", "1"]
    subprocess.run([*command, "-map", "0", "-c", "copy", *options, path], check=True)
    assert path.read_bytes().count(MARK.encode()) >= 2
    assert PLACE[:8].encode() in path.read_bytes() or name in {"a.mp4", "a.avi"}  # one keeps numbers, one nothing
    out.mkdir()
    made, _ = bench.run(path, out, Stage.VIDEO_PRIMARY)
    more, _ = bench.run(path, out, Stage.VIDEO_LADDER)
    assert clean(made | more, out) >= 8
