"""Hostile and broken films: each fails for good, within its bounds of CPU and memory, reads nothing else, ends no child.

The bounds are those of the limits that a job is given, not of a fast machine.
"""

import struct
import subprocess
from pathlib import Path

import pytest
from support.bounds import outcome

from processors.contract import MediaError
from schemas.errors import ErrorClass, ErrorCode
from schemas.states import Stage

VIDEO, LADDER, AUDIO = Stage.VIDEO_PRIMARY, Stage.VIDEO_LADDER, Stage.AUDIO_PRIMARY
SECRET = b"ANOTHER-TENANTS-FILM"
# What looking at a film and giving it up may take: an ffprobe, and an ffmpeg that finds nothing to decode.
MOST_CPU_S = 10.0


def refused(bench, path, workdir, stage, codes):
    """The job fails for good with one of the codes, within bounds, and every child goes on."""
    assert outcome(bench, path, workdir, stage, most_cpu_s=MOST_CPU_S) in codes


@pytest.fixture
def other(make_video, tmp_path):
    """A file that must not be read: another tenant's film, in a folder beside."""
    folder = tmp_path / "other"
    folder.mkdir()
    path = folder / "film.ts"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", make_video(size="426x240"), "-metadata"]
    subprocess.run([*command, f"title={SECRET.decode()}", path], check=True)
    return path


# What opens other files when ffmpeg is left to guess the format; under every name and stage it is refused unread.
SCRIPTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "HLS of a network": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:1/{}\n#EXT-X-ENDLIST\n",
    "HLS after a byte order mark": "\ufeff#EXTM3U\n#EXTINF:9,\n{}\n",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "concat without a head": "file '{}'\nfile '{}'\n",
    "DASH": "<?xml version='1.0'?><MPD><Period><BaseURL>{}</BaseURL></Period></MPD>",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\na={}\n",
    "a subtitle script": "[Script Info]\nScriptType: v4.00+\nVideo File: {}\n",
    "a filter script": "movie={}",
    "an image list": "{}\n",
}


@pytest.mark.parametrize("stage", [VIDEO, LADDER, AUDIO])
def test_scripts_under_media_names_open_nothing(warm, other, stage, tmp_path):
    (tmp_path / "work").mkdir()
    for script in SCRIPTS.values():
        for name in ("film.mp4", "film.mkv", "song.mp3"):
            path = tmp_path / "work" / name
            path.write_text(script.format(other, other))
            refused(warm, path, tmp_path / "work", stage, {ErrorCode.UNSUPPORTED_FORMAT, ErrorCode.UNKNOWN_FORMAT})
            path.unlink()


NOTHING_IN_IT = {
    ErrorCode.CORRUPT,
    ErrorCode.TRUNCATED,
    ErrorCode.NO_VIDEO_STREAM,
    ErrorCode.LIMIT_EXCEEDED,  # as ffprobe puts it when a length of a header runs past the end
}


@pytest.mark.parametrize("script", ["HLS", "concat", "DASH"])
def test_a_script_behind_a_films_first_bytes_opens_nothing(warm, other, script, tmp_path):
    heads = {
        VIDEO: [b"\0\0\0\x10ftypmp42\0\0\0\0", b"RIFF\xff\xff\0\0AVI ", b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska"],
        AUDIO: [b"ID3\4\0\0\0\0\0\0", b"fLaC", b"RIFF\xff\xff\0\0WAVEfmt ", b"OggS\0\2" + bytes(22) + b"OpusHead"],
    }
    path = tmp_path / "film.mp4"
    for stage, beginnings in heads.items():
        for beginning in beginnings:
            path.write_bytes(beginning + SCRIPTS[script].format(other, other).encode())
            refused(warm, path, tmp_path, stage, NOTHING_IN_IT)


def external(data):
    """The same film whose media are said to lie in another file (a data reference that is not its own)."""
    at = data.index(b"url \0\0\0\1")
    return data[: at + 4] + b"\0\0\0\0" + data[at + 8 :]


def test_a_film_whose_media_lie_elsewhere_is_not_followed(bench, make_video, other, tmp_path):
    path = tmp_path / "film.mov"
    path.write_bytes(external(make_video(name="a.mov").read_bytes()))
    try:
        made, _ = bench.run(path, tmp_path, VIDEO)
    except MediaError as error:
        assert error.error_class is ErrorClass.PERMANENT
    else:
        assert all(SECRET not in Path(rendition.path).read_bytes() for rendition in made.values())


@pytest.mark.parametrize("options", [(), ("-movflags", "+faststart"), ("-movflags", "frag_keyframe+empty_moov")])
def test_an_mp4_cut_anywhere(warm, make_video, options, tmp_path):
    whole = make_video(*options, size="426x240", sound=True).read_bytes()
    path = tmp_path / "film.mp4"
    for eighths in range(1, 8):
        path.write_bytes(whole[: len(whole) * eighths // 8])
        if "frag_keyframe+empty_moov" in options:
            # A recording that broke off is whole up to its last fragment, or it is not at all.
            try:
                warm.run(path, tmp_path, VIDEO, but={"preview"})
            except MediaError as error:
                assert error.error_class is ErrorClass.PERMANENT, error
        else:
            refused(warm, path, tmp_path, VIDEO, {ErrorCode.TRUNCATED})
    for few in (1, 4, 8, 16, 40):
        path.write_bytes(whole[:few])
        refused(warm, path, tmp_path, VIDEO, {ErrorCode.TRUNCATED, ErrorCode.UNKNOWN_FORMAT, ErrorCode.CORRUPT})


def lying(data, seconds):
    """The same film whose header says that it lasts so long."""
    at = data.index(b"mvhd")
    scale = struct.unpack(">I", data[at + 16 : at + 20])[0]
    data = bytearray(data)
    for kind, offset in ((b"mvhd", 20), (b"tkhd", 24)):
        at = data.index(kind)
        data[at + offset : at + offset + 4] = struct.pack(">I", min(seconds * scale, 2**32 - 1))
    return bytes(data)


def test_a_lying_duration_decides_nothing(warm, make_video, make_bench, tmp_path):
    whole = make_video(size="426x240").read_bytes()
    path = tmp_path / "film.mp4"
    path.write_bytes(lying(whole, 3600))
    made, _ = warm.run(path, tmp_path, VIDEO)
    assert made["video_720p"].duration_s == pytest.approx(1.0, abs=0.1)
    path.write_bytes(lying(whole, 10**6))
    refused(warm, path, tmp_path, VIDEO, {ErrorCode.TOO_LONG})
    # The other way round: it says a second and goes on; what is decoded is bounded by the cap, not by its word.
    long = make_video(size="426x240", seconds=8).read_bytes()
    path.write_bytes(lying(long, 1))
    made, _ = make_bench(max_video_seconds=3).run(path, tmp_path, VIDEO)
    assert made["video_720p"].duration_s <= 3.2


def test_three_hours_at_a_frame_a_second(bench, make_video, tmp_path):
    """Made by repeating a clip without decoding it; a poster and a storyboard of it cost seconds, not a full decode."""
    clip = make_video("-g", "30", size="64x48", rate=1, seconds=60)
    path = tmp_path / "long.mp4"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-stream_loop", "179", "-i", clip, "-c", "copy", path]
    subprocess.run(command, check=True)
    made, report = bench.run(path, tmp_path, VIDEO)
    assert report.duration_s == pytest.approx(3 * 3600, abs=60)
    assert made["video_720p"].duration_s == pytest.approx(3 * 3600, abs=60)
    assert made["preview"].duration_s <= 4.2
    assert report.cpu_s < 60
    assert report.max_rss_mb < 300
    made, report = bench.run(path, tmp_path, LADDER)
    assert 50 < Path(made["storyboard"].path).read_text().count("-->") <= 101
    assert Path(made["hls"].path).with_name("48p.m3u8").read_text().count("#EXTINF") > 1000
    assert report.cpu_s < 60


def many_streams(path, count):
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=32x32:duration=0.2"]
    subprocess.run([*command, *["-map", "0"] * count, "-c:v", "mpeg4", path], check=True)
    return path


def test_caps_come_before_decoding(make_bench, make_video, tmp_path):
    strict = make_bench(max_video_seconds=5, max_video_side=400)
    strict.run(make_video(), tmp_path, VIDEO)
    cases = [
        (make_video(seconds=6, size="64x48"), {ErrorCode.TOO_LONG}),
        (make_video(size="426x240"), {ErrorCode.TOO_MANY_PIXELS}),
        (many_streams(tmp_path / "many.mkv", 33), {ErrorCode.LIMIT_EXCEEDED}),
        (make_video("-r", "2000", rate=2000, size="64x48", seconds=0.1), {ErrorCode.TOO_MANY_FRAMES}),
    ]
    for path, codes in cases:
        refused(strict, path, tmp_path, VIDEO, codes)


def test_a_folder_that_would_outgrow_its_cap_is_a_permanent_failure(make_bench, make_video, tmp_path):
    capped = make_bench(max_temp_bytes=20_000)
    with pytest.raises(MediaError) as caught:
        capped.run(make_video(seconds=10, size="640x480"), tmp_path, VIDEO)
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED


def test_metadata_without_end_is_cut_short(bench, make_video, tmp_path):
    """Ten thousand tags in a Matroska file: what ffprobe says of them is bounded, whatever comes of the job."""
    tags = [part for number in range(3000) for part in ("-metadata", f"tag{number}={'x' * 300}")]
    path = tmp_path / "tags.mkv"
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", make_video(), "-c", "copy", *tags, path], check=True)
    try:
        made, report = bench.run(path, tmp_path, VIDEO)
    except MediaError as error:
        assert error.error_class is ErrorClass.PERMANENT
    else:
        assert all(b"xxxxxxxx" not in Path(rendition.path).read_bytes() for rendition in made.values())
        assert report.max_rss_mb < 400
