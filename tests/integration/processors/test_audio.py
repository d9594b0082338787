"""Sound files: AAC in M4A at one loudness, and a waveform that shows what is heard."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from processors.contract import MediaError
from schemas.errors import ErrorClass, ErrorCode
from schemas.states import Stage

AUDIO = Stage.AUDIO_PRIMARY
FORMATS = {
    "mp3": ("mp3", ()),
    "aac": ("aac", ()),
    "wav": ("wav", ()),
    "24-bit.wav": ("wav", ("-c:a", "pcm_s24le", "-ar", "96000")),
    "flac": ("flac", ()),
    "opus": ("ogg", ()),
    "vorbis.ogg": ("ogg", ("-c:a", "libvorbis")),
    "m4a": ("m4a", ()),
    "alac.m4a": ("m4a", ("-c:a", "alac")),
}


@pytest.fixture(scope="module")
def make_sound(tmp_path_factory):
    """Half a second of silence, then a tone: `make_sound(name, *options)`."""
    folder = tmp_path_factory.mktemp("sounds")

    def make(name, *options, seconds=3.0, volume=0.1):
        path = folder / name
        tone = f"sine=duration={seconds}:frequency=330,volume={volume}*gte(t\\,0.5):eval=frame"
        marks = ["-metadata", "title=TITLE-MARK", "-metadata", "location=+52.5200+013.4050/"]
        subprocess.run(
            ["ffmpeg", "-nostdin", "-y", "-v", "error", "-f", "lavfi", "-i", tone, *marks, *options, path], check=True
        )
        return path

    return make


@pytest.mark.parametrize("name", FORMATS)
def test_what_people_record(bench, make_sound, ffprobe, name, tmp_path):
    progress = []
    kind, options = FORMATS[name]
    path = make_sound(name if "." in name else f"a.{name}", *options)
    made, report = bench.run(path, tmp_path, AUDIO, on_progress=progress.append)
    assert set(made) == {"audio", "waveform", "waveform_data"}
    assert (report.kind, report.format, report.width, report.height) == ("audio", kind, 0, 0)
    assert report.duration_s == pytest.approx(3.0, abs=0.15)
    assert (report.details.format, report.details.channels) == (kind, ffprobe(path)["audio"]["channels"])
    assert report.details.has_audio is None, "that is a film's"
    assert progress
    found = ffprobe(made["audio"].path)
    assert set(found) == {"audio", "format"}
    assert found["audio"]["codec_name"] == "aac"
    assert float(found["format"]["duration"]) == pytest.approx(made["audio"].duration_s, abs=0.1)
    data = Path(made["audio"].path).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert all(mark not in Path(r.path).read_bytes() for r in made.values() for mark in (b"TITLE-MARK", b"+52.52"))
    wave = json.loads(Path(made["waveform_data"].path).read_bytes())
    assert (wave["version"], wave["bits"], wave["length"] * 2) == (2, 8, len(wave["data"]))
    highs = wave["data"][1::2]
    quiet = len(highs) // 6
    assert max(highs[: quiet - 40]) <= 2 < 6 < min(highs[quiet + 60 : -60])
    with Image.open(made["waveform"].path) as picture:
        assert (picture.size, picture.mode) == ((1200, 200), "RGBA")


def test_loudness_is_brought_to_one_level(bench, make_sound, tmp_path):
    made, _ = bench.run(make_sound("loud.wav", volume=2.0), tmp_path, AUDIO)
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-i", made["audio"].path, "-af", "ebur128", "-f", "null", "-"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert float(re.findall(r"I:\s+(-[\d.]+) LUFS", said)[-1]) == pytest.approx(-16.0, abs=0.6)


@pytest.mark.parametrize("channels", [9, 12, 16])
def test_many_channels_are_brought_to_two_and_all_of_them_are_heard(bench, ffprobe, channels, tmp_path):
    parts = ["0"] * (channels - 1) + ["0.1*sin(2*PI*330*t)"]
    path = tmp_path / "many.wav"
    source = ["-f", "lavfi", "-i", f"aevalsrc={'|'.join(parts)}:d=1:s=48000"]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *source, path], check=True)
    made, _ = bench.run(path, tmp_path, AUDIO)
    assert ffprobe(made["audio"].path)["audio"]["channels"] == 2
    wave = json.loads(Path(made["waveform_data"].path).read_bytes())
    assert max(wave["data"]) > 5, "the last channel"


def test_a_cover_is_left_where_it_is(bench, make_sound, ffprobe, tmp_path):
    Image.new("RGB", (64, 64), (200, 30, 30)).save(tmp_path / "cover.jpg")
    covered = tmp_path / "covered.mp3"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", make_sound("a.mp3"), "-i", tmp_path / "cover.jpg"]
    subprocess.run(
        [*command, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v", "attached_pic", covered], check=True
    )
    made, _ = bench.run(covered, tmp_path, AUDIO)
    assert set(ffprobe(made["audio"].path)) == {"audio", "format"}


@pytest.mark.parametrize("options", [("-brand", "mp42"), ("-movflags", "frag_keyframe+empty_moov", "-brand", "iso5")])
def test_sound_in_mp4_is_sound_whatever_its_brand(bench, make_sound, options, tmp_path):
    """As Android and Safari record it."""
    path = make_sound("a.m4a", "-f", "mp4", *options)
    assert path.read_bytes()[8:12] in {b"mp42", b"iso5"}
    made, report = bench.run(path, tmp_path, AUDIO)
    assert made["audio"].duration_s == pytest.approx(3.0, abs=0.15)
    assert (report.kind, report.format) == ("audio", "m4a")


def test_what_is_no_sound_fails_for_good(bench, make_sound, make_video, make_bench, tmp_path):
    whole = make_sound("a.flac").read_bytes()
    cases = {
        b"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n": ErrorCode.UNSUPPORTED_FORMAT,
        b"fLaC" + bytes(4000): ErrorCode.CORRUPT,
        whole[:60]: ErrorCode.CORRUPT,
        b"ID3\x04\0\0\0\0\0\0" + bytes(5000): ErrorCode.CORRUPT,
        b"ID3\x04\0\0\0\0\0\0#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n": ErrorCode.CORRUPT,
        make_sound("a.m4a").read_bytes()[:9000]: ErrorCode.TRUNCATED,
        make_video().read_bytes(): ErrorCode.TYPE_MISMATCH,
        b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0": ErrorCode.CORRUPT,
    }
    path = tmp_path / "song.mp3"
    for content, code in cases.items():
        path.write_bytes(content)
        with pytest.raises(MediaError) as caught:
            bench.run(path, tmp_path, AUDIO)
        assert (caught.value.code, caught.value.error_class) == (code, ErrorClass.PERMANENT), (
            content[:40],
            caught.value,
        )
    with pytest.raises(MediaError) as caught:
        make_bench(max_video_seconds=1).run(make_sound("a.wav"), tmp_path, AUDIO)
    assert caught.value.code is ErrorCode.TOO_LONG
