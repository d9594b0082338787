"""Wide gamut and HDR, told by profile or by code points: known colours come out as they are in sRGB."""

import struct
import subprocess
import zlib

import numpy as np
import pillow_heif
import pytest
import pyvips
from PIL import Image

from processors.images.colour import is_srgb, profile_name
from processors.images.engines import engine_for
from processors.images.icc import description
from processors.images.light import Cicp, shown
from processors.sniff import sniff

# A grey, and colours that are within sRGB, as light; 1 is white.
COLOURS = np.array([[0.18, 0.18, 0.18], [0.8, 0.1, 0.1], [0.1, 0.6, 0.2], [0.1, 0.2, 0.7], [0.7, 0.6, 0.1], [1, 1, 1]])
FROM_709 = {
    "display-p3": [[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]],
    "rec2020": [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]],
}
PROPHOTO_FROM_709 = [[0.5293, 0.3302, 0.1406], [0.0984, 0.8735, 0.0282], [0.0169, 0.1177, 0.8655]]
PRIMARIES = {"display-p3": 12, "rec2020": 9}
SIZE = (96, 32)


def srgb(light):
    """Light as code values, 0 to 1."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def pq(light):
    """Light, of which 1 is 203 candelas per square metre, by SMPTE ST 2084."""
    root = (light * 203 / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * root) / (1 + 18.6875 * root)) ** 78.84375


def hlg(light):
    """The same by ARIB STD-B67, for a screen of 1,000 candelas."""
    shown_light = light * 203 / 1000
    luminance = shown_light @ [0.2627, 0.6780, 0.0593]
    scene = shown_light * np.maximum(luminance, 1e-9)[:, None] ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def stripes(codes, peak):
    """One stripe a colour, as pixels."""
    across = np.repeat(np.round(codes * peak), SIZE[0] // len(codes), axis=0)
    return np.broadcast_to(across, (SIZE[1], *across.shape))


def seen(path, image_format):
    """What comes out in the middle of each stripe, 0 to 255; and what the engine calls the colours."""
    engine = engine_for(image_format)
    header = engine.inspect(path, image_format)
    assert header[:2] == SIZE
    pixels = np.frombuffer(engine.decode(path, image_format, *SIZE).rgba(), np.uint8).reshape(*SIZE[::-1], 4)
    return pixels[SIZE[1] // 2, 8::16, :3].astype(int), header.color_space


def avif(path, codes, primaries, transfer, *, deep):
    """By ffmpeg, whose muxer writes `nclx` and no profile."""
    raw = stripes(codes, 65535).astype("<u2") if deep else stripes(codes, 255).astype(np.uint8)
    told = ["-color_primaries", primaries, "-color_trc", transfer, "-colorspace", "bt709", "-color_range", "pc"]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb48le" if deep else "rgb24", "-s", f"{SIZE[0]}x{SIZE[1]}", "-i", "-"]
    scale = f"scale=out_color_matrix=bt709:out_range=pc,format=yuv444p{'10le' if deep else ''}"
    encoder = ["-c:v", "libaom-av1", "-crf", "4", "-cpu-used", "8", "-still-picture", "1", "-frames:v", "1"]
    command = ["ffmpeg", "-nostdin", "-v", "error", *source, "-vf", scale, *encoder, *told, "-f", "avif", path]
    subprocess.run(command, input=raw.tobytes(), check=True)


def heic(path, codes, primaries):
    picture = pillow_heif.from_pillow(Image.fromarray(stripes(codes, 255).astype(np.uint8)))
    told = {"color_primaries": primaries, "transfer_characteristics": 13, "matrix_coefficients": 6}
    picture.save(path, quality=95, chroma=444, **told, full_range_flag=1)


def png(path, codes, primaries, transfer):
    """With a `cICP` chunk after the header."""
    Image.fromarray(stripes(codes, 255).astype(np.uint8)).save(path, "PNG")
    with_code_points(path, primaries, transfer)


def with_code_points(path, primaries, transfer):
    data = path.read_bytes()
    body = b"cICP" + bytes([primaries, transfer, 0, 1])
    path.write_bytes(data[:33] + struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:])


@pytest.mark.parametrize("gamut", FROM_709)
@pytest.mark.parametrize("kind", ["avif", "heic", "png"])
def test_wide_gamut_by_code_points(kind, gamut, tmp_path):
    path, codes = tmp_path / "in", srgb(COLOURS @ np.transpose(FROM_709[gamut]))
    if kind == "avif":
        avif(path, codes, {"display-p3": "smpte432", "rec2020": "bt2020"}[gamut], "iec61966-2-1", deep=False)
    elif kind == "heic":
        heic(path, codes, PRIMARIES[gamut])
    else:
        png(path, codes, PRIMARIES[gamut], 13)
    found, name = seen(path, kind)
    assert name == gamut
    assert np.abs(found - srgb(COLOURS) * 255).max() < 6
    assert np.abs(codes * 255 - srgb(COLOURS) * 255).max() > 15, "it matters"


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif", "heic"])
def test_display_p3_by_profile(kind, tmp_path):
    path, codes = tmp_path / "in", srgb(COLOURS @ np.transpose(FROM_709["display-p3"]))
    profile = bytes(pyvips.Operation.call("profile_load", "p3"))
    picture = Image.fromarray(stripes(codes, 255).astype(np.uint8))
    if kind == "heic":
        pillow_heif.from_pillow(picture).save(path, quality=95, chroma=444, icc_profile=profile)
    else:
        picture.save(path, kind.upper(), quality=97, icc_profile=profile)
    found, name = seen(path, kind)
    assert name == "display-p3"
    assert np.abs(found - srgb(COLOURS) * 255).max() < 10


def stock(name):
    return bytes(pyvips.Operation.call("profile_load", name))


def in_ascii(name):
    """A description as version 2 of ICC has it."""
    return b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name.encode() + bytes(79)


def in_utf16(name, *languages):
    """One as version 4 has it, a record a language; only the English one is right."""
    told = {language: name if language == b"en" else "sRGB" for language in languages or (b"en",)}
    records, texts = b"", b""
    for language, text in told.items():
        at = 16 + 12 * len(told) + len(texts)
        records += language + b"US" + struct.pack(">II", 2 * len(text), at)
        texts += text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II", len(told), 12) + records + texts


def with_tags(profile, **tags):
    """The profile with other contents of some tags, put behind the rest."""
    changed = bytearray(profile)
    for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12):
        if content := tags.get(bytes(profile[at : at + 4]).decode()):
            changed[at + 4 : at + 12] = struct.pack(">II", len(changed), len(content))
            changed += content + bytes(-len(content) % 4)
    changed[:4] = struct.pack(">I", len(changed))
    return bytes(changed)


@pytest.mark.parametrize("written", [in_ascii, in_utf16, lambda name: in_utf16(name, b"de", b"en", b"fr")])
@pytest.mark.parametrize("told", ["Display P3 Gamut with sRGB Transfer", "sRGB Transfer with DCI-P3 Gamut"])
def test_a_wide_gamut_with_the_curve_of_srgb_is_not_srgb(told, written, tmp_path):
    path, codes = tmp_path / "in", srgb(COLOURS @ np.transpose(FROM_709["display-p3"]))
    profile = with_tags(stock("p3"), desc=written(told))
    assert description(profile) == told
    Image.fromarray(stripes(codes, 255).astype(np.uint8)).save(path, "PNG", icc_profile=profile)
    found, name = seen(path, "png")
    assert name == "display-p3"
    assert np.abs(found - srgb(COLOURS) * 255).max() < 6


def test_linear_srgb_is_not_srgb(tmp_path):
    line = b"curv" + bytes(8)
    profile = with_tags(stock("srgb"), desc=in_utf16("GIMP built-in Linear sRGB"), rTRC=line, gTRC=line, bTRC=line)
    path = tmp_path / "in"
    Image.fromarray(stripes(COLOURS, 255).astype(np.uint8)).save(path, "PNG", icc_profile=profile)
    found, name = seen(path, "png")
    assert name == "other"
    assert np.abs(found - srgb(COLOURS) * 255).max() < 6


def test_what_is_called_srgb_is_not_converted():
    for told in ("sRGB IEC61966-2.1", "sRGB built-in", "sRGB"):
        assert is_srgb(with_tags(stock("srgb"), desc=in_ascii(told)))
        assert profile_name(with_tags(stock("srgb"), desc=in_utf16(told))) == "srgb"


def test_a_description_that_lies_about_its_place_is_none():
    whole = with_tags(stock("srgb"), desc=in_utf16("sRGB"))
    assert [description(whole[:end]) for end in (0, 4, 130, 140, len(whole) - 32)] == [""] * 5
    assert description(whole.replace(b"mluc", b"\xff\xff\xff\xff")) == ""
    assert description(whole[:128] + b"\xff" * 400) == ""


@pytest.mark.parametrize(("transfer", "curve"), [("smpte2084", pq), ("arib-std-b67", hlg)])
def test_hdr_is_brought_to_what_a_screen_shows(transfer, curve, tmp_path):
    light = np.array([[0, 0, 0], [0.18, 0.18, 0.18], [1, 1, 1], [2, 2, 2], [4.9, 4.9, 4.9], [2, 0.5, 0.5]])
    avif(tmp_path / "in", curve(light), "bt709", transfer, deep=True)
    found, _ = seen(tmp_path / "in", "avif")
    greys = found[:5]
    assert np.abs(greys - greys[:, :1]).max() <= 2, "a grey stays one"
    brightness = greys[:, 0]
    assert brightness[0] <= 2
    assert abs(brightness[1] - srgb(np.array(0.18)) * 255) < 4, "what is dark is not touched"
    assert 210 < brightness[2] < 240, "white is a little less, to leave room"
    assert brightness[2] + 8 < brightness[3] < brightness[4]
    assert brightness[4] >= 250
    assert found[5, 0] > found[5, 1] + 60, "a bright red stays red"


def test_transparency_and_single_channels_go_through():
    glass = pyvips.Image.black(4, 4, bands=4).linear(1, [200, 100, 50, 128]).cast("uchar").copy(interpretation="srgb")
    made = shown(glass, Cicp(9, 13))
    assert (made.bands, made.format, made(1, 1)[3]) == (4, "uchar", 128)
    grey = (pyvips.Image.black(4, 4) + 30_000).cast("ushort").copy(interpretation="grey16")
    assert len(set(shown(grey, Cicp(9, 16))(1, 1))) == 1
    deep = (pyvips.Image.black(4, 4, bands=4) + 65_535).cast("ushort").copy(interpretation="rgb16")
    assert shown(deep, Cicp(12, 13))(1, 1) == [255, 255, 255, 255]


@pytest.mark.parametrize("kind", ["bmp", "png", "heic"])
def test_what_is_transparent_does_not_darken_what_is_beside_it(kind, tmp_path):
    glass, path = Image.new("RGBA", (64, 64), (0, 0, 0, 0)), tmp_path / "in"
    glass.paste((255, 255, 255, 255), (0, 0, 30, 64))
    if kind == "heic":
        pillow_heif.from_pillow(glass).save(path, quality=100, chroma=444)
    else:
        glass.save(path, kind.upper())
    if kind == "png":
        with_code_points(path, 12, 13)
    made = engine_for(kind).decode(path, kind, 16, 16)
    pixels = np.frombuffer(made.rgba(), np.uint8).reshape(-1, 4).astype(int)
    edge = pixels[(pixels[:, 3] > 4) & (pixels[:, 3] < 250)]
    assert len(edge), "it was scaled across the edge"
    assert edge[:, :3].min() > 250


def test_ordinary_code_points_change_nothing():
    assert all(Cicp(*known).is_srgb for known in [(1, 13), (1, 1), (2, 2), (5, 6), (6, 6)])
    assert not any(Cicp(*known).is_srgb for known in [(12, 13), (9, 14), (1, 16), (1, 18), (1, 8), (1, 4)])


def deep(values, kind):
    """Rows and columns of 16-bit pixels as libvips has them."""
    height, width, bands = values.shape
    pixels = np.round(values * 65535).astype(np.uint16).tobytes()
    return pyvips.Image.new_from_memory(pixels, width, height, bands, "ushort").copy(interpretation=kind)


@pytest.mark.parametrize("glass", [False, True])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_shadows_of_16_bits_of_light_have_no_bands(kind, glass, tmp_path):
    line, path = b"curv" + bytes(8), tmp_path / "in"
    profile = with_tags(stock("srgb"), desc=in_utf16("Linear sRGB"), rTRC=line, gTRC=line, bTRC=line)
    codes = np.linspace(0, 1, 256)
    light = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    ramp = np.broadcast_to(light[None, :, None], (32, 256, 3))
    image = deep(np.concatenate([ramp, np.ones((32, 256, 1))], axis=2) if glass else ramp, "rgb16")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    (image.pngsave if kind == "png" else image.tiffsave)(str(path))
    made = np.frombuffer(engine_for(kind).decode(path, kind, 256, 32).rgba(), np.uint8).reshape(32, 256, 4)
    assert np.abs(made[16, :, :3].astype(int) - np.arange(256)[:, None]).max() <= 1
    assert made[..., 3].min() == 255


def in_xyz(*values):
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def test_16_bits_of_a_gamma_are_as_right_as_8(tmp_path):
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(1.8 * 256))
    curves = {"rTRC": curve, "gTRC": curve, "bTRC": curve}
    red, green, blue = in_xyz(0.79776, 0.28807, 0), in_xyz(0.13519, 0.71184, 0.00009), in_xyz(0.03135, 0, 0.8251)
    named = in_utf16("ProPhoto RGB")
    profile = with_tags(stock("srgb"), desc=named, rXYZ=red, gXYZ=green, bXYZ=blue, **curves)
    # LittleCMS interpolates what has 16 bits; of ProPhoto, a dark channel beside a bright one is then 13 off.
    path = tmp_path / "in"
    codes = np.clip(COLOURS @ np.transpose(PROPHOTO_FROM_709), 0, 1) ** (1 / 1.8)
    image = deep(stripes(codes, 65535) / 65535, "rgb16")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    image.tiffsave(str(path))
    found, name = seen(path, "tiff")
    assert name == "other"
    assert np.abs(found - srgb(COLOURS) * 255).max() < 6


@pytest.mark.parametrize("profile", [True, False], ids=["profile", "no profile"])
@pytest.mark.parametrize("kind", ["jpeg", "tiff"])
def test_all_ink_is_black_and_no_ink_is_white(kind, profile, tmp_path):
    path, inks = tmp_path / "in", np.zeros((32, 96, 4), np.uint8)
    inks[:, 48:] = (190, 170, 170, 255)
    image = pyvips.Image.new_from_memory(inks.tobytes(), 96, 32, 4, "uchar").copy(interpretation="cmyk")
    if profile:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", stock("cmyk"))
    if kind == "jpeg":
        image.jpegsave(str(path), Q=95, keep="all" if profile else "none")
    else:
        image.tiffsave(str(path))
    found, name = seen(path, kind)
    assert name == "cmyk"
    assert found[0].min() >= 253
    assert found[-1].max() <= 8, "its paper would show through otherwise, as a grey"


def test_of_an_avif_that_moves_the_first_frame_is_shown(tmp_path):
    frames = [Image.new("RGB", (64, 32), colour) for colour in ((220, 40, 40), (40, 40, 220))]
    frames[0].save(tmp_path / "in", "AVIF", save_all=True, append_images=frames[1:], duration=100, quality=95)
    engine = engine_for("avif")
    assert sniff(tmp_path / "in").format == "avif"
    assert engine.inspect(tmp_path / "in", "avif")[:2] == (64, 32)
    shown_frame = engine.decode(tmp_path / "in", "avif", 32, 16)
    assert np.abs(np.frombuffer(shown_frame.rgba(), np.uint8)[:3].astype(int) - [220, 40, 40]).max() < 8
