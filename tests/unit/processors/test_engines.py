"""One contract for every image engine: sizes, upright, sRGB, clean output, typed failures."""

import io
import os
import subprocess
import sys

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageDraw
from support.colours import srgb_profile
from wand.exceptions import BlobError, PolicyError
from wand.image import Image as WandImage
from wand.resource import limits

from processors.contract import MediaError
from processors.images.engines import ENGINE_OF
from processors.images.heif import HeifEngine
from processors.images.vips import LOADERS, VipsEngine
from processors.images.wand import CODERS, WandEngine
from processors.sandbox.limits import DEFECT, death
from schemas.errors import ErrorClass, ErrorCode

ENGINES = {"vips": VipsEngine, "wand": WandEngine, "heif": HeifEngine}
CASES = [*(("vips", f) for f in LOADERS), *(("wand", f) for f in CODERS), ("heif", "heic")]
BOTH = {name: ENGINES[name] for name, image_format in CASES if image_format == "jpeg"}
# Coarse blocks with a gradient: survives lossy coding, has no symmetry.
SIZE = (320, 200)
GPS_MARK = b"GPS-SECRET-52.5200"


def scene():
    picture = Image.new("RGB", SIZE, (40, 90, 160))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 120, 70), fill=(220, 40, 40))
    draw.rectangle((200, 120, 319, 199), fill=(40, 200, 60))
    draw.ellipse((130, 60, 190, 120), fill=(240, 230, 60))
    return picture


def write(path, image_format, picture=None, **options):
    picture = picture or scene()
    if image_format == "heic":
        pillow_heif.from_pillow(picture).save(path, quality=90, **options)
        return path
    picture.save(path, {"jpeg": "JPEG", "tiff": "TIFF"}.get(image_format, image_format.upper()), **options)
    return path


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def mean_error(got, expected):
    return float(np.abs(got - np.asarray(expected.convert("RGB")).astype(int)).mean())


def rendered(engine, path, image_format, size, tmp_path, crop=None):
    picture = engine.decode(path, image_format, *size)
    if crop:
        picture = picture.cropped(*crop)
    (tmp_path / "out.webp").write_bytes(picture.encoded("webp", 95))
    return pixels(tmp_path / "out.webp")


@pytest.fixture(params=BOTH.values(), ids=BOTH)
def engine(request):
    return request.param()


@pytest.mark.parametrize(("name", "image_format"), CASES)
def test_every_format_is_read_to_the_size_asked_for(name, image_format, tmp_path):
    engine = ENGINES[name]()
    path = write(tmp_path / "in", image_format)
    assert engine.inspect(path, image_format)[:3] == (*SIZE, 1)
    for size in (SIZE, (160, 100), (77, 48), (31, 19)):
        picture = engine.decode(path, image_format, *size)
        assert (picture.width, picture.height) == size
        got = rendered(engine, path, image_format, size, tmp_path)
        assert mean_error(got, scene().resize(size, Image.Resampling.LANCZOS)) < 8


def test_the_table_names_only_engines_that_can():
    for image_format, engine in ENGINE_OF.items():
        assert (engine().name, image_format) in CASES


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("name", "image_format"), [case for case in CASES if case[1] not in {"gif", "bmp"}])
def test_every_orientation_comes_out_upright(name, image_format, orientation, tmp_path):
    engine = ENGINES[name]()
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = scene().transpose(turned[orientation]) if orientation in turned else scene()
    exif = Image.Exif()
    exif[0x0112] = orientation
    if image_format == "heic":
        exif = exif.tobytes()
    path = write(tmp_path / "in", image_format, stored, exif=exif)
    if image_format in {"avif", "heic"} and orientation > 1:
        # As phones do: turned by a property of the picture, and again said in EXIF, which is not to count.
        assert {b"irot", b"imir"} & {kind for kind in (b"irot", b"imir") if kind in path.read_bytes()}
    assert engine.inspect(path, image_format)[:2] == SIZE
    got = rendered(engine, path, image_format, (160, 100), tmp_path)
    assert mean_error(got, scene().resize((160, 100), Image.Resampling.LANCZOS)) < 8


def test_wide_gamut_is_converted_by_its_profile(engine, tmp_path):
    swapped = swapped_profile()
    path = write(tmp_path / "in", "jpeg", scene(), icc_profile=swapped, quality=95)
    got = rendered(engine, path, "jpeg", SIZE, tmp_path)
    expected = ImageCms.profileToProfile(scene(), ImageCms.ImageCmsProfile(io.BytesIO(swapped)), srgb_cms())
    assert mean_error(got, expected) < 8
    assert mean_error(got, scene()) > 20


def srgb_cms():
    return ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))


def swapped_profile():
    """An RGB profile whose red and green primaries are exchanged: ignoring it cannot go unnoticed."""
    data = bytearray(srgb_profile())
    count = int.from_bytes(data[128:132], "big")
    tags = {bytes(data[132 + 12 * i : 136 + 12 * i]): 136 + 12 * i for i in range(count)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    return bytes(data).replace(b"sRGB", b"test").replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


def test_a_broken_profile_is_ignored(engine, tmp_path):
    path = write(tmp_path / "in", "jpeg", scene(), icc_profile=b"nonsense" * 40)
    assert mean_error(rendered(engine, path, "jpeg", SIZE, tmp_path), scene()) < 8


def test_cmyk_and_grey_come_out_as_rgb(engine, tmp_path):
    path = write(tmp_path / "in", "jpeg", scene().convert("CMYK"), quality=95)
    assert mean_error(rendered(engine, path, "jpeg", SIZE, tmp_path), scene()) < 45  # stock profiles differ
    path = write(tmp_path / "in", "jpeg", scene().convert("L"))
    assert mean_error(rendered(engine, path, "jpeg", SIZE, tmp_path), scene().convert("L")) < 8


def test_sixteen_bits_come_out_as_eight(tmp_path):
    deep = Image.fromarray(np.asarray(scene().convert("L")).astype(np.uint16) * 257)
    for image_format in ("png", "tiff"):
        path = write(tmp_path / "in", image_format, deep)
        assert mean_error(rendered(VipsEngine(), path, image_format, SIZE, tmp_path), scene().convert("L")) < 8


@pytest.mark.parametrize(("name", "image_format"), [("vips", "png"), ("vips", "webp"), ("vips", "tiff")])
def test_transparency_is_kept_in_webp_and_white_in_jpeg(name, image_format, tmp_path):
    engine = ENGINES[name]()
    glass = scene().convert("RGBA")
    glass.paste((0, 0, 0, 0), (0, 0, 160, 200))
    path = write(tmp_path / "in", image_format, glass)
    picture = engine.decode(path, image_format, 160, 100).resized(80, 50)
    (tmp_path / "out.webp").write_bytes(picture.encoded("webp", 90))
    (tmp_path / "out.jpg").write_bytes(picture.encoded("jpeg", 90))
    with Image.open(tmp_path / "out.webp") as out:
        assert out.convert("RGBA").getpixel((10, 10))[3] == 0
        assert out.convert("RGBA").getpixel((70, 10))[3] == 255
    assert pixels(tmp_path / "out.jpg")[10, 10].min() > 245


def test_pictures_are_resized_and_cropped_exactly_and_never_changed_in_place(engine, tmp_path):
    picture = engine.decode(write(tmp_path / "in", "jpeg"), "jpeg", *SIZE)
    assert (picture.resized(33, 77).width, picture.resized(33, 77).height) == (33, 77)
    assert (picture.cropped(200, 200).width, picture.cropped(200, 200).height) == (200, 200)
    assert (picture.width, picture.height) == SIZE


@pytest.mark.parametrize("image_format", ["webp", "jpeg"])
@pytest.mark.parametrize(("name", "source"), [case for case in CASES if case[1] not in {"gif", "bmp"}])
def test_no_metadata_comes_through(name, source, image_format, tmp_path):
    engine = ENGINES[name]()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, GPS_MARK.decode()
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[29] = GPS_MARK.decode()
    more = {"comment": GPS_MARK} if source == "jpeg" else {}
    if source == "heic":
        exif = exif.tobytes()
    path = write(tmp_path / "in", source, exif=exif, xmp=b"<x>" + GPS_MARK + b"</x>", **more)
    assert GPS_MARK in path.read_bytes()
    width, height, *_ = engine.inspect(path, source)
    (tmp_path / "out").write_bytes(engine.decode(path, source, width, height).encoded(image_format, 80))
    data = (tmp_path / "out").read_bytes()
    assert GPS_MARK not in data
    assert b"Exif" not in data
    with Image.open(tmp_path / "out") as out:
        assert out.format == image_format.upper()
        assert not out.getexif()
        assert not {"exif", "xmp", "comment", "icc_profile", "photoshop"} & set(out.info)


@pytest.mark.parametrize(("name", "image_format"), CASES)
def test_a_cut_file_never_passes_for_a_whole_one(name, image_format, tmp_path):
    if (name, image_format) == ("wand", "jpeg"):
        pytest.skip("ImageMagick fills a cut JPEG in silence; the pipeline checks completeness before any engine")
    engine = ENGINES[name]()
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 256, (120, 160, 3), dtype=np.uint8))
    data = write(tmp_path / "in", image_format, noise).read_bytes()
    for share in (0.3, 0.6, 0.9):
        path = tmp_path / "cut"
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(MediaError) as caught:
            width, height, *_ = engine.inspect(path, image_format)
            engine.decode(path, image_format, width, height)
        assert caught.value.error_class is ErrorClass.PERMANENT
        assert str(tmp_path) not in caught.value.detail


def test_a_fault_that_imagemagick_keeps_for_later_is_raised_at_once(tmp_path):
    path = write(tmp_path / "in", "bmp")
    path.write_bytes(path.read_bytes() + bytes(7))
    data = bytearray(path.read_bytes())
    data[2:6] = (999_999).to_bytes(4, "little")  # the size that the header gives
    path.write_bytes(data)
    with pytest.raises(MediaError) as caught:
        WandEngine().decode(path, "bmp", *SIZE)
    assert caught.value.code is ErrorCode.CORRUPT


@pytest.mark.parametrize(("name", "image_format"), CASES)
def test_bytes_that_are_no_picture_are_a_permanent_failure(name, image_format, tmp_path):
    engine = ENGINES[name]()
    path = tmp_path / "in"
    whole = write(path, image_format).read_bytes()
    for data in (
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        whole[:16],
        whole[:40] + bytes(999),
    ):
        path.write_bytes(data)
        with pytest.raises(MediaError) as caught:
            width, height, *_ = engine.inspect(path, image_format)
            engine.decode(path, image_format, width, height)
        assert caught.value.error_class is ErrorClass.PERMANENT


def test_a_format_that_an_engine_does_not_read_is_said(tmp_path):
    for engine in (VipsEngine(), WandEngine(), HeifEngine()):
        with pytest.raises(MediaError) as caught:
            engine.inspect(write(tmp_path / "in", "jpeg"), "svg")
        assert caught.value.code is ErrorCode.UNSUPPORTED_FORMAT


def test_the_attention_crop_keeps_what_draws_the_eye(tmp_path):
    picture = Image.new("RGB", (800, 200), (90, 90, 90))
    ImageDraw.Draw(picture).ellipse((650, 60, 730, 140), fill=(255, 40, 0))
    path = write(tmp_path / "in", "png", picture)
    got = rendered(VipsEngine(), path, "png", (800, 200), tmp_path, crop=(200, 200))
    assert (got[..., 0] - got[..., 2]).max() > 150


def test_both_engines_make_the_same_picture(tmp_path):
    path = write(tmp_path / "in", "jpeg")
    ours = [rendered(make(), path, "jpeg", (160, 100), tmp_path) for make in BOTH.values()]
    assert np.abs(ours[0] - ours[1]).mean() < 4


def test_animations_give_their_first_frame_and_their_length(tmp_path):
    frames = [scene(), Image.new("RGB", SIZE, "white"), Image.new("RGB", SIZE, "black")]
    for image_format in ("gif", "webp"):
        path = tmp_path / "in"
        frames[0].save(path, image_format.upper(), save_all=True, append_images=frames[1:])
        engine = VipsEngine()
        assert engine.inspect(path, image_format).frames == 3
        assert mean_error(rendered(engine, path, image_format, SIZE, tmp_path), scene()) < 8


@pytest.mark.parametrize(
    "coder", ["svg", "mvg", "msl", "text", "label", "mp4", "pdf", "ps", "url", "https", "xc", "png", "gif", "heic"]
)
def test_the_policy_refuses_every_other_coder(coder, tmp_path):
    path = tmp_path / "in"
    path.write_bytes(b"push graphic-context\nviewbox 0 0 9 9\nfill 'red'\nrectangle 0,0 9,9\npop graphic-context\n")
    # A refused module leaves the prefix unknown, so the whole address is taken for a file name that does not exist.
    with pytest.raises((PolicyError, BlobError)):
        WandImage(filename=f"{coder}:{path}")


def test_imagemagick_keeps_no_clock_of_its_own():
    """Its time limit counts from a process's first picture: past it, every picture would end a warm child."""
    assert limits["time"] >= 2**62


def test_a_child_that_a_library_ends_at_a_limit_fails_its_job_for_good():
    assert death(1 << 8, "decoder").code is ErrorCode.LIMIT_EXCEEDED
    assert death(DEFECT << 8, "decoder").code is ErrorCode.CHILD_DIED


def test_the_wand_engine_refuses_to_work_without_the_policy(tmp_path):
    command = [sys.executable, "-c", "from processors.images.wand import WandEngine; WandEngine()"]
    ran = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "processors.policy.environment()" in ran.stderr


def retagged(data, tag, value):
    """A little-endian TIFF with another value of a tag that its first directory has."""
    changed = bytearray(data)
    directory = int.from_bytes(data[4:8], "little")
    entries = range(directory + 2, directory + 2 + 12 * int.from_bytes(data[directory : directory + 2], "little"), 12)
    (place,) = (at for at in entries if int.from_bytes(data[at : at + 2], "little") == tag)
    changed[place + 8 : place + 12] = value.to_bytes(4, "little")
    return bytes(changed)


COMPRESSION = 259
TIFFS = {
    "old-style JPEG": (lambda data: retagged(data, COMPRESSION, 6), ErrorCode.UNSUPPORTED_FORMAT),
    "JBIG": (lambda data: retagged(data, COMPRESSION, 34661), ErrorCode.UNSUPPORTED_FORMAT),
    "JPEG 2000": (lambda data: retagged(data, COMPRESSION, 34712), ErrorCode.UNSUPPORTED_FORMAT),
    "LERC": (lambda data: retagged(data, COMPRESSION, 34887), ErrorCode.UNSUPPORTED_FORMAT),
    "LZMA": (lambda data: retagged(data, COMPRESSION, 34925), ErrorCode.UNSUPPORTED_FORMAT),
    "Zstandard": (lambda data: retagged(data, COMPRESSION, 50000), ErrorCode.UNSUPPORTED_FORMAT),
    "nobody's": (lambda data: retagged(data, COMPRESSION, 65000), ErrorCode.UNSUPPORTED_FORMAT),
    "NeXT, of eight bits": (lambda data: retagged(data, COMPRESSION, 32766), ErrorCode.UNSUPPORTED_FORMAT),
    "not the LZW that it says": (lambda data: retagged(data, COMPRESSION, 5), ErrorCode.CORRUPT),
    "not the Deflate that it says": (lambda data: retagged(data, COMPRESSION, 8), ErrorCode.CORRUPT),
    "not the JPEG that it says": (lambda data: retagged(data, COMPRESSION, 7), ErrorCode.CORRUPT),
    "more samples than there are": (lambda data: retagged(data, 277, 7), ErrorCode.TRUNCATED),
    "cut": (lambda data: data[: len(data) // 2], ErrorCode.TRUNCATED),
}


@pytest.mark.parametrize(("change", "code"), TIFFS.values(), ids=TIFFS)
def test_a_tiff_of_a_kind_that_is_not_read_is_told_from_a_broken_one(change, code, tmp_path):
    path = write(tmp_path / "in", "tiff")
    path.write_bytes(change(path.read_bytes()))
    engine = VipsEngine()
    with pytest.raises(MediaError) as caught:
        engine.inspect(path, "tiff")
        engine.decode(path, "tiff", 32, 20)
    assert caught.value.code is code, caught.value.detail
    assert caught.value.error_class is ErrorClass.PERMANENT
