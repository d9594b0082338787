"""Real and made clips through one ffmpeg run each: what plays, in which size, and what fails how."""

import base64
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from processors.contract import MediaError
from schemas.errors import ErrorClass, ErrorCode
from schemas.profiles import CATALOGUE
from schemas.states import Stage

VIDEO = Stage.VIDEO_PRIMARY


def sizes(made):
    return {name: (rendition.width, rendition.height) for name, rendition in made.items()}


def check(made, ffprobe, *, sound):
    """What holds for every trio: it plays, it is what it says, it is clean."""
    assert set(made) == {"poster", "video_720p", "preview"}
    with Image.open(made["poster"].path) as poster:
        assert (poster.format, poster.size) == ("JPEG", (made["poster"].width, made["poster"].height))
        assert not poster.getexif()
        assert "comment" not in poster.info
        assert np.asarray(poster.convert("L")).mean() > 10
    for name in ("video_720p", "preview"):
        found = ffprobe(made[name].path)
        video = found["video"]
        assert (video["codec_name"], video["pix_fmt"]) == ("h264", "yuv420p")
        assert (video["width"], video["height"]) == (made[name].width, made[name].height)
        assert video.get("sample_aspect_ratio", "1:1") == "1:1"
        assert not video.get("side_data_list")
        assert float(found["format"]["duration"]) == pytest.approx(made[name].duration_s, abs=0.05)
        data = Path(made[name].path).read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")  # faststart
        assert ("audio" in found) == (sound and name == "video_720p")
    if sound:
        assert ffprobe(made["video_720p"].path)["audio"]["codec_name"] == "aac"


def test_a_real_phone_video_with_variable_frame_rate(bench, samples, ffprobe, tmp_path):
    heard, progress = [], []
    path = samples / "movie1/VID_20191220_170832.mp4"
    more = {"on_rendition": lambda r: heard.append(r.profile), "on_progress": progress.append}
    made, report = bench.run(path, tmp_path, VIDEO, **more)
    assert sizes(made) == {"poster": (640, 360), "video_720p": (1280, 720), "preview": (854, 480)}
    check(made, ffprobe, sound=True)
    assert sorted(heard) == sorted(made)
    assert progress == sorted(progress)
    assert progress[-1] > 0.8
    assert (report.kind, report.format, report.width, report.height) == ("video", "mp4", 1920, 1080)
    assert report.duration_s == pytest.approx(1.6, abs=0.2)
    assert report.cpu_s > 0.5  # ffmpeg's share is in it
    assert report.max_rss_mb > 50
    assert {"sniff", "probe", "loudness", "ffmpeg", "check"} == {step.name for step in report.steps}
    details = report.details
    assert (details.format, details.hdr, details.has_audio) == ("mp4", False, True)
    assert details.channels == ffprobe(path)["audio"]["channels"]
    assert 20 < details.fps < 60
    assert 15 < len(base64.b64decode(details.thumbhash)) < 30
    assert re.fullmatch("#[0-9a-f]{6}", details.dominant_color)


def test_what_a_film_is_shows_without_its_sound_and_without_a_poster_to_make(bench, make_video, tmp_path):
    path = make_video(*HDR, rate=30, seconds=2.0)
    made, report = bench.run(path, tmp_path, VIDEO)
    details = report.details
    assert (details.fps, details.hdr, details.has_audio, details.channels) == (30.0, True, False, None)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    _, again = bench.run(path, tmp_path, VIDEO, but=made)
    assert again.details.thumbhash, "an attempt that finds everything made still says what the film is"
    _, later = bench.run(path, tmp_path, Stage.VIDEO_LADDER, [CATALOGUE["storyboard"]])
    assert later.details.thumbhash is None, "that was the first stage's to find out"


def test_the_preview_ends_after_four_seconds_and_the_rest_does_not(bench, samples, ffprobe, tmp_path):
    made, report = bench.run(samples / "movie2/movie-hello.avi", tmp_path, VIDEO)
    check(made, ffprobe, sound="audio" in ffprobe(samples / "movie2/movie-hello.avi"))
    assert report.format == "avi"
    assert made["preview"].duration_s == pytest.approx(4.0, abs=0.1)
    assert made["video_720p"].duration_s == pytest.approx(8.3, abs=0.3)


CLIPS = {
    "one second": ({"seconds": 1.0}, (320, 240)),
    "two frames": ({"seconds": 0.08}, (320, 240)),
    "one frame": ({"seconds": 0.04}, (320, 240)),
    "sound": ({"sound": True}, (320, 240)),
    "odd size": ({"size": "321x241", "options": ("-pix_fmt", "yuv444p")}, (320, 240)),
    "tiny": ({"size": "2x2"}, (2, 2)),
    "portrait": ({"size": "240x320"}, (240, 320)),
    "240 fps": ({"rate": 240}, (320, 240)),
    "1 fps": ({"rate": 1, "seconds": 3}, (320, 240)),
    "wide pixels": ({"size": "160x240", "options": ("-vf", "setsar=2")}, (320, 240)),
    "HEVC in MOV": (
        {"name": "a.mov", "options": ("-c:v", "libx265", "-tag:v", "hvc1", "-x265-params", "log-level=error")},
        (320, 240),
    ),
    "HDR10": (
        {"options": ("-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc")},
        (320, 240),
    ),
    "HLG": (
        {"options": ("-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc")},
        (320, 240),
    ),
    "HDR10 that tells its curve alone": ({"options": ("-color_trc", "smpte2084")}, (320, 240)),
    "HLG that tells its curve and matrix": (
        {"options": ("-color_trc", "arib-std-b67", "-colorspace", "bt2020nc")},
        (320, 240),
    ),
    "interlaced": ({"options": ("-flags", "+ilme+ildct", "-vf", "setfield=tff")}, (320, 240)),
    "VP8 in WebM": (
        {"name": "a.webm", "options": ("-c:v", "libvpx", "-cpu-used", "8", "-deadline", "realtime"), "sound": True},
        (320, 240),
    ),
    "VP9 in MKV": (
        {"name": "a.mkv", "options": ("-c:v", "libvpx-vp9", "-cpu-used", "8", "-deadline", "realtime")},
        (320, 240),
    ),
    "AV1": ({"options": ("-c:v", "libsvtav1", "-preset", "12"), "seconds": 0.4}, (320, 240)),
    "MPEG-4 in AVI": ({"name": "a.avi", "options": ("-c:v", "mpeg4")}, (320, 240)),
    "DivX 3 in AVI": ({"name": "a.avi", "options": ("-c:v", "msmpeg4")}, (320, 240)),
    "fragmented": ({"options": ("-movflags", "frag_keyframe+empty_moov")}, (320, 240)),
    "live WebM without a duration": (
        {"name": "a.webm", "options": ("-c:v", "libvpx", "-deadline", "realtime", "-live", "1")},
        (320, 240),
    ),
    "GPS in its header": (
        {"options": ("-metadata", "location=+52.5200+013.4050/", "-movflags", "use_metadata_tags")},
        (320, 240),
    ),
}


@pytest.mark.parametrize(("clip", "size"), CLIPS.values(), ids=CLIPS)
def test_everything_that_cameras_and_browsers_make(bench, make_video, ffprobe, clip, size, tmp_path):
    path = make_video(*clip.get("options", ()), **{k: v for k, v in clip.items() if k != "options"})
    made, _ = bench.run(path, tmp_path, VIDEO)
    assert sizes(made)["video_720p"] == size
    check(made, ffprobe, sound=clip.get("sound", False))
    assert all(b"+52.52" not in (tmp_path / r.path).read_bytes() for r in made.values())


def test_a_rotated_video_is_upright(bench, make_video, ffprobe, tmp_path):
    flat = make_video(size="320x180")
    turned = tmp_path / "turned.mp4"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", flat, "-c", "copy", "-metadata:s:v", "rotate=90", turned]
    subprocess.run(command, check=True)
    made, report = bench.run(turned, tmp_path, VIDEO)
    assert (report.width, report.height) == (180, 320)
    assert sizes(made)["video_720p"] == (180, 320)
    check(made, ffprobe, sound=False)


def test_a_video_that_begins_black_gets_a_poster_that_is_not(bench, make_video, tmp_path):
    path = make_video("-vf", "fade=in:st=6:d=1", seconds=10, rate=5)
    made, _ = bench.run(path, tmp_path, VIDEO)
    with Image.open(made["poster"].path) as poster:
        assert np.asarray(poster.convert("L")).mean() > 10


def test_a_video_that_is_black_throughout_keeps_its_black_poster(bench, make_video, tmp_path):
    made, _ = bench.run(make_video("-vf", "drawbox=t=fill:c=black"), tmp_path, VIDEO)
    with Image.open(made["poster"].path) as poster:
        assert np.asarray(poster.convert("L")).max() < 10


GREEN = (0, 189, 0)
BT709 = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
FADED = ("-vf", "geq=lum='if(lt(T,6),16,p(X,Y))':cb='if(lt(T,6),128,p(X,Y))':cr='if(lt(T,6),128,p(X,Y))'")


def one_colour(path, *options, colour=GREEN, seconds=1.0):
    """A film of one colour, as BT.709."""
    source = "color=c=0x{:02x}{:02x}{:02x}:s=320x180:r=5:d={}".format(*colour, seconds)
    pixels = "format=rgb24,scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", f"{source},{pixels}"]
    subprocess.run([*command, "-qp", "0", *BT709, *options, path], check=True)
    return path


def middle(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)[40, 40]


@pytest.mark.parametrize(("seconds", "options"), [(1.0, ()), (12.0, FADED)], ids=["at once", "after black"])
def test_a_poster_and_a_storyboard_have_the_films_colours(bench, seconds, options, tmp_path):
    path = one_colour(tmp_path / "a.mp4", *options, seconds=seconds)
    made, _ = bench.run(path, tmp_path, VIDEO, [CATALOGUE["poster"]])
    assert np.abs(middle(made["poster"].path) - GREEN).max() < 5
    if not options:
        made, _ = bench.run(path, tmp_path, Stage.VIDEO_LADDER, [CATALOGUE["storyboard"]])
        assert np.abs(middle(Path(made["storyboard"].path).with_name("storyboard.jpg")) - GREEN).max() < 5


HDR = ("-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc")
# Lines that change places with every frame: a picture of both fields has all of them, one of a field has none.
COMBED = ("-flags", "+ilme+ildct", "-vf", "geq=lum='if(lt(T,6),16,if(mod(Y+N,2),60,200))':cb=128:cr=128,setfield=tff")


def test_a_poster_from_elsewhere_is_of_the_same_light(bench, tmp_path):
    colours = []
    for options in (HDR, (*HDR, *FADED)):
        path = one_colour(tmp_path / "a.mp4", "-y", *options, colour=(150, 90, 60), seconds=12.0)
        made, _ = bench.run(path, tmp_path, VIDEO, [CATALOGUE["poster"]])
        colours.append(middle(made["poster"].path))
    assert np.abs(colours[0] - colours[1]).max() < 6


def test_a_poster_from_elsewhere_is_a_whole_picture(bench, tmp_path):
    path = one_colour(tmp_path / "a.mp4", *COMBED, seconds=12.0)
    made, _ = bench.run(path, tmp_path, VIDEO, [CATALOGUE["poster"]])
    with Image.open(made["poster"].path) as picture:
        assert np.ptp(np.asarray(picture.convert("L")).astype(int)[40:80, 40]) < 20


def test_a_placeholder_is_of_the_posters_moment_also_where_an_earlier_attempt_made_the_poster(bench, tmp_path):
    title = "color=c=red:s=320x240:r=10:d=1[a];color=c=blue:s=320x240:r=10:d=7[b];[a][b]concat=n=2:v=1[out0]"
    path = tmp_path / "a.mp4"
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", title, "-pix_fmt", "yuv420p", path], check=True
    )
    colours = [bench.run(path, tmp_path, VIDEO, but=but)[1].details.dominant_color for but in ((), {"poster"})]
    assert colours[0] == colours[1] is not None


def test_only_what_is_asked_for_is_made(bench, make_video, tmp_path):
    made, _ = bench.run(make_video(), tmp_path, VIDEO, but={"video_720p", "poster"})
    assert set(made) == {"preview"}


def test_sound_of_many_channels_is_brought_to_two(bench, make_video, ffprobe, tmp_path):
    parts = "|".join(f"0.1*sin(2*PI*{300 + 20 * number}*t)" for number in range(12))
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", make_video(), "-f", "lavfi", "-i", f"aevalsrc={parts}:d=1"]
    path = tmp_path / "a.mov"
    subprocess.run([*command, "-c:v", "copy", "-c:a", "pcm_s16le", path], check=True)
    assert ffprobe(path)["audio"]["channels"] == 12
    for stage in (VIDEO, Stage.VIDEO_LADDER):
        made, _ = bench.run(path, tmp_path, stage)
        film = made["video_720p"].path if stage is VIDEO else Path(made["hls"].path).with_name("audio.mp4")
        assert ffprobe(film)["audio"]["channels"] == 2


SUBTITLES = "1\n00:00:00,000 --> 00:00:01,000\nHello\n"
BESIDE = {
    "subtitles in MKV": ("a.mkv", "words.srt", ("-map", "1", "-c:s", "srt")),
    "styled subtitles in MKV": ("a.mkv", "words.srt", ("-map", "1", "-c:s", "ass")),
    "subtitles in MP4": ("a.mp4", "words.srt", ("-map", "1", "-c:s", "mov_text")),
    "a PNG cover in MP4": ("a.mp4", "cover.png", ("-map", "1", "-disposition:v:1", "attached_pic")),
    "DTS in MKV": ("a.mkv", "tone.wav", ("-map", "1", "-c:a", "dca", "-strict", "-2")),
    "TrueHD in MKV": ("a.mkv", "tone.wav", ("-map", "1", "-c:a", "truehd", "-strict", "-2")),
    "24 bits in MOV": ("a.mov", "tone.wav", ("-map", "1", "-c:a", "pcm_s24be")),
    "a font in MKV": ("a.mkv", None, ("-attach", "font.ttf", "-metadata:s:t", "mimetype=font/ttf")),
}


@pytest.mark.parametrize(("name", "more", "options"), BESIDE.values(), ids=BESIDE)
def test_what_a_file_has_beside_its_film_does_not_fail_it(bench, make_video, name, more, options, tmp_path):
    (tmp_path / "words.srt").write_text(SUBTITLES)
    (tmp_path / "font.ttf").write_bytes(b"\0\1\0\0" + bytes(99))
    Image.new("RGB", (64, 64), (200, 30, 30)).save(tmp_path / "cover.png")
    command = ["ffmpeg", "-nostdin", "-v", "error"]
    tone = ["-f", "lavfi", "-i", "sine=duration=1:r=48000", "-ac", "2", "tone.wav"]
    subprocess.run([*command, *tone], check=True, cwd=tmp_path)
    second = ["-i", more] if more else []
    film = ["-i", make_video(), *second, "-map", "0", "-c", "copy"]
    subprocess.run([*command, *film, *options, name], check=True, cwd=tmp_path)
    (tmp_path / "out").mkdir()
    made, _ = bench.run(tmp_path / name, tmp_path / "out", VIDEO)
    assert sizes(made)["video_720p"] == (320, 240)


def cut(data):
    return data[: len(data) // 2]


def test_an_mp4_cut_in_half_is_truncated(bench, make_video, tmp_path):
    path = tmp_path / "a.mp4"
    for options in ((), ("-movflags", "+faststart")):
        path.write_bytes(cut(make_video(*options).read_bytes()))
        with pytest.raises(MediaError) as caught:
            bench.run(path, tmp_path, VIDEO)
        assert caught.value.code is ErrorCode.TRUNCATED


SCRIPTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "DASH": "<MPD><BaseURL>{}</BaseURL></MPD>",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_script_under_a_video_name_reads_no_other_file(bench, make_video, script, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text(script.format(make_video()))
    with pytest.raises(MediaError) as caught:
        bench.run(path, tmp_path, VIDEO)
    assert caught.value.code is ErrorCode.UNSUPPORTED_FORMAT


def hollow(data):
    """The same file with nothing in its frames."""
    at = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    return data[:at] + bytes(end - at) + data[end:]


def test_other_faults_are_permanent_too(bench, make_video, tmp_path):
    song = tmp_path / "song.mp4"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "sine=duration=1", song]
    subprocess.run(command, check=True)
    empty = tmp_path / "hollow.mp4"
    empty.write_bytes(hollow(make_video().read_bytes()))
    still = tmp_path / "still.jpg"
    Image.new("RGB", (64, 64)).save(still)
    for path, code in ((song, ErrorCode.NO_VIDEO_STREAM), (empty, ErrorCode.CORRUPT), (still, ErrorCode.TYPE_MISMATCH)):
        with pytest.raises(MediaError) as caught:
            bench.run(path, tmp_path, VIDEO)
        assert caught.value.code is code
        assert caught.value.error_class is ErrorClass.PERMANENT


def test_a_video_longer_or_larger_than_allowed_is_refused(make_bench, make_video, tmp_path):
    strict = make_bench(max_video_seconds=0.5, max_video_side=300)
    for clip, code in (({"size": "160x120"}, ErrorCode.TOO_LONG), ({}, ErrorCode.TOO_MANY_PIXELS)):
        with pytest.raises(MediaError) as caught:
            strict.run(make_video(**clip), tmp_path, VIDEO)
        assert caught.value.code is code
