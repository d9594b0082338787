"""The ladder and the storyboard of real and made clips: they play, they are aligned, they name only their own files."""

import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from processors.contract import MediaError
from schemas.errors import ErrorCode
from schemas.states import Stage

LADDER = Stage.VIDEO_LADDER


def seconds(playlist):
    return [float(value) for value in re.findall(r"#EXTINF:([\d.]+)", playlist.read_text())]


def check(rendition, ffprobe, names, *, sound):
    """What holds for every ladder: all rungs cut at the same times, each plays, and so does the master playlist."""
    folder = Path(rendition.path).parent
    tracks = [*names, *(["audio"] if sound else [])]
    files = {f"{name}.{kind}" for name in tracks for kind in ("mp4", "m3u8")}
    assert {part.name for part in rendition.parts} == files
    assert {path.name for path in folder.iterdir()} == files | {"hls.m3u8"}
    media = [part.name.endswith(".mp4") for part in rendition.parts]
    assert media == sorted(media, reverse=True)  # what a playlist names comes before it
    cuts = {name: seconds(folder / f"{name}.m3u8") for name in names}
    assert len({tuple(times) for times in cuts.values()}) == 1
    for name in names:
        found = ffprobe(folder / f"{name}.m3u8")["video"]
        assert (found["codec_name"], found["pix_fmt"]) == ("h264", "yuv420p")
        assert f"{min(found['width'], found['height'])}p" == name
        text = (folder / f"{name}.m3u8").read_text()
        assert {line for line in text.splitlines() if not line.startswith("#")} == {f"{name}.mp4"}
    text = Path(rendition.path).read_text()
    assert [line for line in text.splitlines() if not line.startswith("#")] == [f"{name}.m3u8" for name in names]
    played = ffprobe(rendition.path)
    assert ("audio" in played) == sound
    decoded = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", rendition.path, "-f", "null", "-"]
    assert subprocess.run(decoded, check=True, capture_output=True).stderr == b""
    return cuts[names[0]]


def test_a_real_phone_video(bench, samples, ffprobe, tmp_path):
    progress = []
    path = samples / "movie1/VID_20191220_170832.mp4"
    made, report = bench.run(path, tmp_path, LADDER, on_progress=progress.append)
    assert set(made) == {"storyboard", "hls"}
    check(made["hls"], ffprobe, ["1080p", "720p", "480p", "360p", "240p"], sound=True)
    assert made["hls"].duration_s == pytest.approx(1.6, abs=0.3)
    assert progress == sorted(progress)
    assert {"loudness", "storyboard", "ladder"} <= {step.name for step in report.steps}


def test_segments_begin_with_key_frames_at_the_same_times(bench, make_video, ffprobe, tmp_path):
    clip = make_video("-g", "25", seconds=14, size="426x240", rate=10, sound=True)
    made, _ = bench.run(clip, tmp_path, LADDER)
    cuts = check(made["hls"], ffprobe, ["240p"], sound=True)
    assert cuts == pytest.approx([6.0, 6.0, 2.0], abs=0.11)
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "v",
        "-skip_frame",
        "nokey",
        "-show_entries",
        "frame=pts_time",
        "-of",
        "csv=p=0",
    ]
    rung = tmp_path / "hls/240p.mp4"
    listed = subprocess.run([*command, rung], check=True, capture_output=True, text=True).stdout
    keys = [float(line.strip(",")) for line in listed.split()]
    assert [key - keys[0] for key in keys] == pytest.approx([0, 2, 4, 6, 8, 10, 12], abs=0.11)


def test_the_storyboard_shows_key_frames_when_they_come(bench, make_video, tmp_path):
    clip = make_video("-g", "20", seconds=14, size="426x240", rate=10)
    made, _ = bench.run(clip, tmp_path, LADDER, but={"hls"})
    board = made["storyboard"]
    cues = re.findall(
        r"([\d:.]+) --> ([\d:.]+)\nstoryboard.jpg#xywh=(\d+),(\d+),(\d+),(\d+)", Path(board.path).read_text()
    )
    assert [begin for begin, *_ in cues] == [f"00:00:{at:02}.000" for at in range(0, 14, 2)]
    assert cues[-1][1] == "00:00:14.000"
    with Image.open(Path(board.path).with_name("storyboard.jpg")) as sprite:
        assert sprite.size == (board.width, board.height) == (7 * 192, 108)
        assert not sprite.getexif()
        shades = {sprite.crop((int(x), int(y), int(x) + 192, int(y) + 108)).tobytes() for *_, x, y, _, _ in cues}
        assert len(shades) == 7  # seven moments, seven pictures
    assert [part.name for part in board.parts] == ["storyboard.jpg"]


def test_a_film_that_does_not_tell_its_length_is_measured(bench, make_bench, make_video, ffprobe, tmp_path):
    """As a browser records it: 400 seconds, key frames of which lie one apart."""
    live = ("-g", "1", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-live", "1")
    path = make_video(*live, size="64x48", rate=1, seconds=400, name="a.webm")
    assert "duration" not in ffprobe(path)["format"]
    made, report = bench.run(path, tmp_path, LADDER, but={"hls"})
    assert report.duration_s == made["storyboard"].duration_s == pytest.approx(400, abs=1.5)
    cues = re.findall(r"([\d:.]+) --> ([\d:.]+)", Path(made["storyboard"].path).read_text())
    assert 45 <= len(cues) <= 51
    assert cues[-1][1] >= "00:06:38.000"
    with pytest.raises(MediaError) as caught:
        make_bench(max_video_seconds=300).run(path, tmp_path, LADDER)
    assert caught.value.code is ErrorCode.TOO_LONG


CLIPS = {
    "silent": {"size": "426x240"},
    "portrait": {"size": "240x426"},
    "one frame": {"size": "426x240", "seconds": 0.04},
    "odd and small": {"size": "321x181", "options": ("-pix_fmt", "yuv444p")},
    "240 fps": {"size": "426x240", "rate": 240},
    "interlaced": {"size": "426x240", "options": ("-flags", "+ilme+ildct", "-vf", "setfield=tff")},
    "HDR10": {
        "size": "426x240",
        "options": ("-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc"),
    },
    "HLG that tells its curve alone": {"size": "426x240", "options": ("-color_trc", "arib-std-b67")},
    "live WebM": {
        "size": "426x240",
        "name": "a.webm",
        "options": ("-c:v", "libvpx", "-deadline", "realtime", "-live", "1"),
        "sound": True,
    },
}


@pytest.mark.parametrize("clip", CLIPS.values(), ids=CLIPS)
def test_what_cameras_and_browsers_make(bench, make_video, ffprobe, clip, tmp_path):
    path = make_video(*clip.get("options", ()), **{k: v for k, v in clip.items() if k != "options"})
    made, _ = bench.run(path, tmp_path, LADDER)
    check(made["hls"], ffprobe, ["180p" if "321" in clip["size"] else "240p"], sound=clip.get("sound", False))


def test_a_rotated_video_is_upright_in_every_rung(bench, make_video, ffprobe, tmp_path):
    turned = tmp_path / "turned.mp4"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", make_video(size="640x360"), "-c", "copy"]
    subprocess.run([*command, "-metadata:s:v", "rotate=90", turned], check=True)
    made, _ = bench.run(turned, tmp_path, LADDER)
    assert (made["hls"].width, made["hls"].height) == (360, 640)
    check(made["hls"], ffprobe, ["360p", "240p"], sound=False)
    assert made["storyboard"].height == 192


def without_frames(folder, make_video):
    """A track of pictures that is announced and never comes."""
    path = folder / "empty-track.mp4"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", make_video(sound=True), "-c", "copy", "-frames:v", "0"]
    subprocess.run([*command, "-movflags", "empty_moov+frag_keyframe", path], check=True)
    return path


def test_a_track_without_a_frame_is_corrupt_and_one_without_a_sample_is_none(bench, make_video, ffprobe, tmp_path):
    for stage in (LADDER, Stage.VIDEO_PRIMARY):
        with pytest.raises(MediaError) as caught:
            bench.run(without_frames(tmp_path, make_video), tmp_path, stage)
        assert caught.value.code is ErrorCode.CORRUPT
        (tmp_path / "empty-track.mp4").unlink()
    path = tmp_path / "no-sound.mp4"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", make_video(size="426x240", sound=True), "-c", "copy"]
    options = ["-frames:a", "0", "-movflags", "empty_moov+frag_keyframe"]
    subprocess.run([*command, *options, path], check=True)
    (tmp_path / "out").mkdir()
    made, _ = bench.run(path, tmp_path / "out", LADDER)
    check(made["hls"], ffprobe, ["240p"], sound=False)
    made, _ = bench.run(path, tmp_path / "out", Stage.VIDEO_PRIMARY)
    assert "audio" not in ffprobe(made["video_720p"].path)


def test_sound_is_brought_to_one_loudness(bench, make_video, tmp_path):
    quiet = make_video("-af", "volume=0.2", sound=True, seconds=3)
    made, _ = bench.run(quiet, tmp_path, Stage.VIDEO_PRIMARY)
    bench.run(quiet, tmp_path, LADDER)
    for path in (made["video_720p"].path, tmp_path / "hls/hls.m3u8"):
        command = ["ffmpeg", "-nostdin", "-hide_banner", "-i", path, "-vn", "-af", "ebur128", "-f", "null", "-"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
        assert float(re.findall(r"I:\s+(-[\d.]+) LUFS", said)[-1]) == pytest.approx(-16.0, abs=0.6)
