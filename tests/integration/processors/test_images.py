"""Real photos and hostile files through the real children: what comes out, what fails and how, and who survives."""

import base64
import hashlib
import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from msgspec.structs import replace
from PIL import Image, ImageOps, ImageSequence
from support.colours import srgb_profile

from processors.contract import MediaError
from schemas.errors import ErrorClass, ErrorCode
from schemas.profiles import CATALOGUE
from schemas.states import Stage

pillow_heif.register_heif_opener()
SIZES = {
    "thumbnail": (256, 256),
    "display_small": (512, 384),
    "display_large": (1280, 960),
    "display_large_jpeg": (1280, 960),
}
AVIFS = {"thumbnail_avif": (256, 256), "display_small_avif": (512, 384), "display_large_avif": (1280, 960)}
PHOTOS = ["pic1/IMG_20200827_231612.jpg", "pic2/IMG_20191224_234846.jpg", "pic2/IMG_20200124_231153.jpg"]

ATTENTION = dict(zip(PHOTOS, (74, 21, 85), strict=True))
"""The left edges of the squares that libvips chooses of the photos at 341x256."""
LIKE, UNLIKE = 0.95, 0.5


def rgb(path_or_image):
    image = Image.open(path_or_image) if not isinstance(path_or_image, Image.Image) else path_or_image
    return np.asarray(image.convert("RGB")).astype(float)


def ssim(a, b):
    """Structural similarity of two luma planes over 8x8 blocks, 1 for equal ones (Wang et al., 2004)."""
    a, b = (x @ [0.299, 0.587, 0.114] for x in (a, b))
    h, w = (side // 8 * 8 for side in a.shape)
    blocks = [x[:h, :w].reshape(h // 8, 8, w // 8, 8).swapaxes(1, 2).reshape(-1, 64) for x in (a, b)]
    (ma, mb), (va, vb) = [x.mean(1) for x in blocks], [x.var(1) for x in blocks]
    cov = ((blocks[0] - ma[:, None]) * (blocks[1] - mb[:, None])).mean(1)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float((((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean())


def golden(path, size):
    """What Pillow makes of the photo: upright, scaled by Lanczos."""
    with Image.open(path) as original:
        upright = ImageOps.exif_transpose(original).convert("RGB")
    return rgb(upright.resize(size, Image.Resampling.LANCZOS))


@pytest.mark.parametrize("name", PHOTOS)
def test_a_phone_photo_gives_its_variants(bench, samples, name, tmp_path):
    made, report = bench.run(samples / name, tmp_path)
    assert {profile: (r.width, r.height) for profile, r in made.items()} == SIZES
    for profile, rendition in made.items():
        data = Path(rendition.path).read_bytes()
        assert (rendition.size, rendition.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert rendition.content_type == f"image/{rendition.format}"
        assert rendition.duration_s is None
        with Image.open(rendition.path) as image:
            assert (image.format, image.size) == (rendition.format.upper(), SIZES[profile])
            assert not {"exif", "xmp", "icc_profile"} & set(image.info)
            assert rgb(image).mean() > 5
        if profile != "thumbnail":
            assert ssim(rgb(rendition.path), golden(samples / name, SIZES[profile])) > 0.93
    assert (report.kind, report.format, report.width, report.height) == ("image", "jpeg", 4000, 3000)
    assert 0.05 < report.cpu_s < 5
    assert 20 < report.max_rss_mb < 200
    assert {"sniff", "inspect", "decode", "placeholder", *SIZES} == {step.name for step in report.steps}
    details = report.details
    assert (details.format, details.bit_depth, details.color_space, details.frames) == ("jpeg", 8, "srgb", 1)
    assert details.orientation == Image.open(samples / name).getexif().get(0x0112, 1)
    assert 15 < len(base64.b64decode(details.thumbhash)) < 30
    assert re.fullmatch("#[0-9a-f]{6}", details.dominant_color)


def test_the_second_stage_gives_the_same_pictures_in_avif(bench, photo, tmp_path):
    made, report = bench.run(photo, tmp_path, Stage.IMAGE_AVIF)
    assert {profile: (r.width, r.height) for profile, r in made.items()} == AVIFS
    assert report.details.thumbhash is None, "that was the first stage's to find out"
    for profile, rendition in made.items():
        with Image.open(rendition.path) as image:
            assert (image.format, image.size) == ("AVIF", AVIFS[profile])
            assert not {"exif", "xmp", "icc_profile"} & set(image.info)
        if profile != "thumbnail_avif":
            assert ssim(rgb(rendition.path), golden(photo, AVIFS[profile])) > 0.9
    whole, _ = bench.run(photo, tmp_path)
    assert made["display_large_avif"].size < whole["display_large"].size


def test_nothing_of_where_it_was_taken_is_in_any_output(bench, photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 1, "CAMERA-MARK"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    exif.get_ifd(0x8825)[29] = "GPS-MARK"
    with Image.open(photo) as image:
        image.save(tmp_path / "in.jpg", exif=exif, comment=b"COMMENT-MARK", xmp=b"<x:XMP-MARK/>")
    marks = (b"CAMERA-MARK", b"GPS-MARK", b"COMMENT-MARK", b"XMP-MARK")
    assert all(mark in (tmp_path / "in.jpg").read_bytes() for mark in marks)
    made, _ = bench.run(tmp_path / "in.jpg", tmp_path)
    more, _ = bench.run(tmp_path / "in.jpg", tmp_path, Stage.IMAGE_AVIF)
    assert set(made | more) == {*SIZES, *AVIFS}
    for rendition in (made | more).values():
        data = Path(rendition.path).read_bytes()
        assert not any(mark in data for mark in (*marks, b"EXIF", b"Exif", b"XMP "))


def saved(picture, name, folder, **options):
    path = folder / f"{name}.bin"
    picture.save(path, name.upper(), **options)
    return path


def gradient(width, height):
    across, down = np.meshgrid(np.linspace(40, 220, width), np.linspace(40, 220, height))
    return Image.fromarray(np.stack([across, down, 255 - across], axis=-1).astype(np.uint8))


@pytest.mark.parametrize("name", ["png", "webp", "avif", "gif", "tiff", "bmp", "heif"])
def test_every_other_format_gives_the_same_variants(bench, name, tmp_path):
    picture = gradient(900, 600)
    made, report = bench.run(saved(picture, name, tmp_path), tmp_path)
    assert report.format == name.replace("heif", "heic")
    assert (made["display_large"].width, made["display_large"].height) == (900, 600)  # never above the source
    assert (made["display_small"].width, made["display_small"].height) == (512, 341)
    assert ssim(rgb(made["display_large"].path), rgb(picture)) > 0.9


ODD = [
    ((3000, 1), (1280, 1), (512, 1), (1, 1)),
    ((1, 3000), (1, 3000), (1, 3000), (1, 1)),
    ((8000, 1000), (1280, 160), (512, 64), (256, 256)),
    ((100, 50), (100, 50), (100, 50), (50, 50)),
    ((1, 1), (1, 1), (1, 1), (1, 1)),
]


@pytest.mark.parametrize(("size", "large", "small", "square"), ODD)
def test_odd_shapes_are_fitted_never_enlarged_and_the_thumbnail_is_always_square(
    bench, size, large, small, square, tmp_path
):
    made, _ = bench.run(saved(gradient(*size), "png", tmp_path), tmp_path)
    assert [(made[p].width, made[p].height) for p in ("display_large", "display_small")] == [large, small]
    assert (made["thumbnail"].width, made["thumbnail"].height) == square
    for rendition in made.values():
        with Image.open(rendition.path) as image:
            assert image.size == (rendition.width, rendition.height)
            assert rgb(image).mean() > 10


def test_only_what_is_asked_for_is_made_and_each_file_is_announced(bench, photo, tmp_path):
    heard = []
    made, _ = bench.run(photo, tmp_path, but={"display_large"}, on_rendition=heard.append)
    assert set(made) == {"thumbnail", "display_small", "display_large_jpeg"}
    assert {rendition.profile for rendition in heard} == set(made)
    assert not (tmp_path / "display_large.webp").exists()
    made, report = bench.run(photo, tmp_path, but=SIZES)
    assert made == {}
    assert (report.width, report.details.orientation) == (4000, 1)
    assert report.details.thumbhash, "an attempt that finds everything made still says what the picture is"


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress(bytes(1000 * 1000))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def long_gif(frames):
    buffer = io.BytesIO()
    shades = [Image.new("L", (8, 8), shade) for shade in range(2)]
    shades[0].save(buffer, "GIF", save_all=True, append_images=[shades[i % 2] for i in range(1, frames)])
    return buffer.getvalue()


def polyglot(photo):
    return photo.read_bytes() + b"<html><script>alert(1)</script>"


HOSTILE = {
    "empty": (lambda _: b"", ErrorCode.EMPTY_FILE),
    "HTML": (lambda _: b"<!doctype html><title>404</title>", ErrorCode.UNSUPPORTED_FORMAT),
    "SVG": (
        lambda _: b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>",
        ErrorCode.UNSUPPORTED_FORMAT,
    ),
    "MVG": (lambda _: b"push graphic-context\nimage over 0,0 0,0 '/etc/passwd'", ErrorCode.UNSUPPORTED_FORMAT),
    "noise": (lambda _: bytes(range(7, 200)) * 50, ErrorCode.UNKNOWN_FORMAT),
    "half a JPEG": (lambda p: p.read_bytes()[: p.stat().st_size // 2], ErrorCode.TRUNCATED),
    "JPEG header only": (lambda p: p.read_bytes()[:300], ErrorCode.TRUNCATED),
    "JPEG without its last byte": (lambda p: p.read_bytes()[:-1], ErrorCode.TRUNCATED),
    "50k x 50k PNG": (lambda _: png_header(50_000, 50_000), ErrorCode.TOO_MANY_PIXELS),
    "wide PNG": (lambda _: png_header(20_000, 10), ErrorCode.TOO_MANY_PIXELS),
    "PNG with too little in it": (lambda _: png_header(5000, 5000), ErrorCode.CORRUPT),
    "10,000 frames": (lambda _: long_gif(10_000), ErrorCode.TOO_MANY_FRAMES),
    "a video": (lambda p: b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(99), ErrorCode.TYPE_MISMATCH),
}


@pytest.mark.parametrize(("make", "code"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_fail_for_good_and_the_same_child_goes_on(bench, photo, make, code, tmp_path):
    children = bench.pool.pids
    path = tmp_path / "photo.jpg"
    path.write_bytes(make(photo))
    with pytest.raises(MediaError) as caught:
        bench.run(path, tmp_path)
    assert caught.value.code is code
    assert caught.value.error_class is ErrorClass.PERMANENT
    assert str(tmp_path) not in caught.value.detail
    assert bench.pool.pids == children
    assert list(tmp_path.glob("*.webp")) == []


def test_bytes_after_the_end_marker_are_dropped(bench, photo, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(polyglot(photo))
    made, _ = bench.run(path, tmp_path)
    assert set(made) == set(SIZES)
    assert all(b"script" not in (tmp_path / r.path).read_bytes() for r in made.values())


def test_a_point_is_kept_by_a_crop(bench, tmp_path):
    picture = Image.new("RGB", (800, 200), "gray")
    picture.paste("red", (600, 0, 800, 200))
    square = replace(CATALOGUE["thumbnail"], focus=(1.0, 0.5), width=200, height=200)
    made, _ = bench.run(saved(picture, "png", tmp_path), tmp_path, profiles=[square])
    red = rgb(made["thumbnail"].path)
    assert red[..., 0].mean() > 200
    assert red[..., 1].mean() < 50


POINTS = {
    # focus, box of the crop, size that covers it, where the crop then begins, and the place most unlike that
    "left": ((0.0, 0.5), (256, 256), (341, 256), (0, 0), (85, 0)),
    "right": ((1.0, 0.5), (256, 256), (341, 256), (85, 0), (0, 0)),
    "right of the middle": ((0.6, 0.5), (256, 256), (341, 256), (77, 0), (0, 0)),
    "left, not the middle": ((0.4, 0.5), (256, 256), (341, 256), (8, 0), (85, 0)),
    "top left": ((0.0, 0.0), (256, 128), (256, 192), (0, 0), (0, 64)),
    "bottom right": ((1.0, 1.0), (256, 128), (256, 192), (0, 64), (0, 0)),
    "a little above the middle": ((0.5, 0.4), (256, 128), (256, 192), (0, 13), (0, 64)),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_a_crop_about_a_point_is_the_box_about_it(bench, samples, name, tmp_path):
    for place, (focus, (width, height), covering, *corners) in POINTS.items():
        profile = replace(CATALOGUE["thumbnail"], focus=focus, width=width, height=height)
        made, _ = bench.run(samples / name, tmp_path, profiles=[profile])
        got, whole = rgb(made["thumbnail"].path), golden(samples / name, covering)
        right, wrong = (ssim(got, whole[top : top + height, left : left + width]) for left, top in corners)
        assert right > LIKE > UNLIKE > wrong, place


@pytest.mark.parametrize("name", PHOTOS)
def test_what_draws_the_eye_is_one_box_of_the_photo(bench, samples, name, tmp_path):
    """Which box is libvips' to say, and a change of that should be seen; that it is cut out unchanged is ours."""
    made, _ = bench.run(samples / name, tmp_path, profiles=[CATALOGUE["thumbnail"]])
    got, whole = rgb(made["thumbnail"].path), golden(samples / name, (341, 256))
    likeness = [ssim(got, whole[:, left : left + 256]) for left in range(341 - 256 + 1)]
    assert max(likeness) > LIKE
    assert likeness.index(max(likeness)) == pytest.approx(ATTENTION[name], abs=2)


def test_a_target_size_is_kept(bench, photo, tmp_path):
    made, _ = bench.run(photo, tmp_path, profiles=[replace(CATALOGUE["display_small"], target_bytes=20_000)])
    assert 10_000 < made["display_small"].size <= 20_000


@pytest.mark.parametrize("name", ["gif", "webp", "png"])
def test_an_animation_moves_where_that_is_asked_for(bench, name, tmp_path):
    frames = [gradient(900, 600), Image.new("RGB", (900, 600), "white"), Image.new("RGB", (900, 600), "black")]
    path = saved(frames[0], name, tmp_path, save_all=True, append_images=frames[1:])
    made, report = bench.run(path, tmp_path, Stage.IMAGE_AVIF, [CATALOGUE["animation"]])
    assert report.details.frames == 3
    with Image.open(made["animation"].path) as image:
        assert (image.format, image.size, image.n_frames) == ("WEBP", (512, 341), 3)
        shades = [rgb(frame).mean() for frame in ImageSequence.Iterator(image)]
    assert shades[1] > 250 > 5 > shades[2], "each frame is its own"
    still, _ = bench.run(saved(frames[0], name, tmp_path), tmp_path, Stage.IMAGE_AVIF, [CATALOGUE["animation"]])
    assert still == {}


def swapped(profile):
    """A profile whose red and green are exchanged, under a name of its own."""
    data = bytearray(profile)
    tags = {bytes(data[at : at + 4]): at + 4 for at in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    return bytes(data).replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("name", ["webp", "png"])
def test_an_animation_is_upright_and_in_srgb_as_a_still_picture_of_it_is(bench, name, orientation, tmp_path):
    frames = [Image.new("RGB", (600, 400), shade) for shade in ((20, 20, 20), (90, 90, 90))]
    for frame in frames:
        frame.paste((0, 220, 40), (0, 0, 200, 100))
    exif = Image.Exif()
    exif[0x0112] = orientation
    told = {"exif": exif, "icc_profile": swapped(srgb_profile()), "duration": [100, 300]}
    path = saved(frames[0], name, tmp_path, save_all=True, append_images=frames[1:], **told)
    made, _ = bench.run(path, tmp_path, Stage.IMAGE_AVIF, [CATALOGUE["animation"]])
    still, _ = bench.run(path, tmp_path, profiles=[CATALOGUE["display_small"]])
    expected = rgb(still["display_small"].path)
    with Image.open(made["animation"].path) as image:
        assert image.size[::-1] == expected.shape[:2] == ((341, 512) if orientation == 3 else (600, 400))
        seen = [(rgb(frame), image.info["duration"]) for frame in ImageSequence.Iterator(image)]
    assert np.abs(seen[0][0] - expected).mean() < 3
    red = seen[1][0][..., 0] > 150
    assert np.mean(red != (seen[0][0][..., 0] > 150)) < 0.01
    assert red.any(), "what is stored as green"
    assert [duration for _, duration in seen] == [100, 300]


def test_an_apng_keeps_its_times_and_leaves_out_what_is_not_of_it(bench, tmp_path):
    frames = [Image.new("RGBA", (64, 48), shade) for shade in ("white", "black", (0, 0, 0, 0))]
    cover, path = gradient(64, 48).convert("RGBA"), tmp_path / "photo.png"
    cover.save(path, save_all=True, default_image=True, append_images=frames, duration=[100, 250, 400])
    made, report = bench.run(path, tmp_path)
    assert report.details.frames == 3
    assert ssim(rgb(made["display_large"].path), rgb(cover)) > 0.9, "the still picture is the first that is stored"
    made, _ = bench.run(path, tmp_path, Stage.IMAGE_AVIF, [CATALOGUE["animation"]])
    with Image.open(made["animation"].path) as image:
        seen = [
            (frame.convert("RGBA").getpixel((9, 9)), image.info["duration"]) for frame in ImageSequence.Iterator(image)
        ]
    assert [(colour[0] > 200, colour[3] > 200) for colour, _ in seen[:2]] == [(True, True), (False, True)]
    assert seen[2][0][3] < 50, "what is transparent stays so"
    assert [duration for _, duration in seen] == [100, 250, 400]


def test_an_apng_of_ten_thousand_frames_is_refused_by_its_header(bench, tmp_path):
    path = tmp_path / "photo.png"
    Image.new("L", (8, 8)).save(path, save_all=True, append_images=[Image.new("L", (8, 8), 9)])
    data = bytearray(path.read_bytes())
    at = data.index(b"acTL")
    data[at + 4 : at + 8] = (10_000).to_bytes(4, "big")
    data[at + 12 : at + 16] = zlib.crc32(data[at : at + 12]).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(MediaError) as caught:
        bench.run(path, tmp_path)
    assert caught.value.code is ErrorCode.TOO_MANY_FRAMES


def test_a_file_that_is_too_large_is_refused(make_bench, photo, tmp_path):
    with pytest.raises(MediaError) as caught:
        make_bench(max_image_bytes=1000).run(photo, tmp_path)
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_a_folder_that_is_not_there_is_no_fault_of_the_input(bench, photo, tmp_path):
    with pytest.raises(MediaError) as caught:
        bench.run(photo, tmp_path / "nowhere")
    assert caught.value.code is ErrorCode.PROCESSING_FAILED
    assert caught.value.error_class is ErrorClass.TRANSIENT
    assert bench.run(photo, tmp_path)[0]
