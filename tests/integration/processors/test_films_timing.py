"""Pictures and sound stay together, for as long as the film lasts, however a recorder wrote their times."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from schemas.states import Stage

FFMPEG = ("ffmpeg", "-nostdin", "-v", "error")
WHITE = "color=black:s=320x240:r=30:d=4,geq=lum='if(lt(mod(T+0.001,1),0.1)*gte(T,0.9),235,16)':cb=128:cr=128"
TONE = "aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.1)*gte(t,0.9)':s=48000:d=4"
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def flashes(tmp_path_factory):
    """A flash and a tone begin at each of the seconds 1, 2 and 3 of 4."""
    path = tmp_path_factory.mktemp("flashes") / "a.mp4"
    run(*FFMPEG, "-f", "lavfi", "-i", WHITE, "-f", "lavfi", "-i", TONE, *H264, "-c:a", "aac", path)
    return path


def seen(path, *options):
    """When flashes begin, seconds."""
    shot = "signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-"
    text = run(
        *FFMPEG,
        "-copyts",
        *options,
        "-i",
        path,
        "-map",
        "0:v:0",
        "-vf",
        shot,
        "-fps_mode",
        "passthrough",
        "-f",
        "null",
        "-",
    )
    frames = re.findall(r"pts_time:([-\d.]+)\s.*?YAVG=([\d.]+)", text.stdout.decode(), re.DOTALL)
    bright = [(float(at), float(light) > 100) for at, light in frames]
    return [at for (at, now), (_, before) in zip(bright[1:], bright, strict=False) if now and not before]


def heard(path, *options):
    """When tones begin, seconds."""
    filled = ("-af", "aresample=48000:async=1:first_pts=0", "-ac", "1", "-f", "f32le", "-")
    samples = np.abs(
        np.frombuffer(run(*FFMPEG, "-copyts", *options, "-i", path, "-map", "0:a:0", *filled).stdout, "f4")
    )
    loud = np.flatnonzero(samples > samples.max() / 3)
    return [loud[0] / 48000, *(loud[1:][np.diff(loud) > 24000] / 48000)]


LATE = ("-itsoffset", "0.5")
RECORDED = {
    "both at once": ((), (), "b.mp4"),
    "pictures late in MP4": (LATE, (), "b.mp4"),
    "pictures late in MKV": (LATE, (), "b.mkv"),
    "sound late in MP4": ((), LATE, "b.mp4"),
    "sound late in MKV": ((), LATE, "b.mkv"),
}


@pytest.mark.parametrize(("pictures", "sound", "name"), RECORDED.values(), ids=RECORDED)
def test_pictures_and_sound_are_together(bench, flashes, pictures, sound, name, tmp_path):
    path = tmp_path / name
    run(*FFMPEG, *pictures, "-i", flashes, *sound, "-i", flashes, "-map", "0:v", "-map", "1:a", "-c", "copy", path)
    apart = 0.5 * (bool(pictures) - bool(sound))
    made, _ = bench.run(path, tmp_path, Stage.VIDEO_PRIMARY)
    assert np.subtract(seen(made["video_720p"].path), heard(made["video_720p"].path)) == pytest.approx(apart, abs=0.06)
    made, _ = bench.run(path, tmp_path, Stage.VIDEO_LADDER)
    folder = Path(made["hls"].path).parent
    # Without edit lists, as players by Media Source see them; ffmpeg adds two frames for their order.
    raw = ("-ignore_editlist", "1")
    between = np.subtract(seen(folder / "240p.mp4", *raw), heard(folder / "audio.mp4", *raw))
    assert between == pytest.approx(apart, abs=0.09)


def test_a_gap_in_the_sound_stays_one(bench, flashes, tmp_path):
    """As browsers record somebody who was muted: the rest does not move up."""
    path = tmp_path / "b.mkv"
    cut = ("-af", "aselect='not(between(t,1.3,1.8))'", "-c:v", "copy", "-c:a", "aac")
    run(*FFMPEG, "-i", flashes, *cut, path)
    made, _ = bench.run(path, tmp_path, Stage.VIDEO_PRIMARY)
    durations = run("ffprobe", "-v", "error", "-select_streams", "a", "-show_entries", "packet=duration", "-of", "csv=p=0",
                    made["video_720p"].path).stdout.decode()  # fmt: skip
    lengths = {int(line.strip(",")) for line in durations.split()[:-1]}
    assert lengths == {1024}, "some decoders play on what lies together, whatever times say"
    assert heard(made["video_720p"].path) == pytest.approx([1, 2, 3], abs=0.06)


TICKS = ("-enc_time_base", "1:90000", "-fps_mode", "passthrough", "-video_track_timescale", "90000", "-bf", "0")


def test_frames_that_come_and_go_make_a_steady_film_of_full_length(bench, ffprobe, tmp_path):
    path = tmp_path / "b.mp4"
    # A moment of each second, then nothing until the end.
    shaken = "settb=1/90000,select='lt(mod(t,1),0.6)*lt(t,2.7)+gte(t,3.9)',setpts='PTS+(random(0)-0.5)*1200*gt(N,0)'"
    run(*FFMPEG, "-f", "lavfi", "-i", "testsrc2=s=320x240:r=30:d=4", "-vf", shaken, *TICKS, *H264, path)
    assert ffprobe(path)["video"]["r_frame_rate"] == "90000/1"
    made, report = bench.run(path, tmp_path, Stage.VIDEO_PRIMARY)
    assert made["preview"].duration_s == pytest.approx(report.duration_s, abs=0.1)
    for name in ("video_720p", "preview"):
        assert ffprobe(made[name].path)["video"]["r_frame_rate"] == "30/1"
    made, report = bench.run(path, tmp_path, Stage.VIDEO_LADDER)
    assert made["hls"].duration_s == pytest.approx(report.duration_s, abs=0.1)
    assert "FRAME-RATE=30.000" in Path(made["hls"].path).read_text()


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv"])
def test_a_picture_with_music_stays_as_long_as_it_plays(bench, name, tmp_path):
    path = tmp_path / name
    picture = ("-f", "lavfi", "-i", "testsrc2=s=320x240:r=1:d=1")
    run(*FFMPEG, *picture, "-f", "lavfi", "-i", "sine=d=8:r=48000", *H264, "-c:a", "aac", path)
    made, _ = bench.run(path, tmp_path, Stage.VIDEO_LADDER)
    assert made["hls"].duration_s == pytest.approx(8, abs=1.1)


def test_a_clip_that_begins_between_key_frames_gets_its_ladder_and_its_storyboard(bench, flashes, tmp_path):
    """As phones trim: all is kept, and an edit list says where it begins."""
    path = tmp_path / "b.mp4"
    run(*FFMPEG, "-ss", "0.7", "-i", flashes, "-c", "copy", path)
    made, _ = bench.run(path, tmp_path, Stage.VIDEO_LADDER)
    assert made["hls"].duration_s == pytest.approx(3.3, abs=0.05)
    cues = re.findall(r"([\d:.]+) -->", Path(made["storyboard"].path).read_text())
    assert len(cues) == 4


def test_damage_does_not_take_the_ladder(bench, make_video, tmp_path):
    data = bytearray(make_video(seconds=6.0, sound=True, size="426x240").read_bytes())
    data[len(data) // 3 : len(data) // 3 + 40_000] = np.random.default_rng(1).bytes(40_000)
    path = tmp_path / "b.mp4"
    path.write_bytes(data)
    made, _ = bench.run(path, tmp_path, Stage.VIDEO_LADDER)
    assert made["hls"].duration_s == pytest.approx(6, abs=0.5)


def test_sums_of_channels_are_not_cut_off(bench, make_video, tmp_path):
    """All of 5.1 as loud as they go: brought to two they are louder than two may be."""
    path = tmp_path / "b.mkv"
    short = "lt(mod(t,0.5),0.02)*sin(2*PI*300*t)"  # peaks, and little loudness: the gain is bounded by them
    loud = "|".join([f"0.9*{short}"] * 6)
    sound = ("-f", "lavfi", "-i", f"aevalsrc='{loud}':c=5.1:s=48000:d=3")
    run(*FFMPEG, "-i", make_video(seconds=3.0), *sound, "-c:v", "copy", "-c:a", "ac3", "-b:a", "640k", path)
    made, _ = bench.run(path, tmp_path, Stage.VIDEO_PRIMARY)
    wanted = ("-map", "0:a", "-f", "f32le", "-")
    assert np.abs(np.frombuffer(run(*FFMPEG, "-i", made["video_720p"].path, *wanted).stdout, "f4")).max() < 1


def test_the_sound_is_that_which_a_player_would_choose(bench, make_video, tmp_path):
    tones = [part for pitch in (300, 2000) for part in ("-f", "lavfi", "-i", f"sine=f={pitch}:d=1:r=48000")]
    maps = ("-map", "0", "-map", "1", "-map", "2", "-disposition:a:0", "0", "-disposition:a:1", "default")
    path = tmp_path / "b.mkv"
    run(*FFMPEG, "-i", make_video(), *tones, *maps, "-c:v", "copy", "-c:a", "flac", path)
    made, _ = bench.run(path, tmp_path, Stage.VIDEO_PRIMARY)
    wanted = ("-map", "0:a", "-ac", "1", "-ar", "8000", "-f", "f32le", "-")
    samples = np.frombuffer(run(*FFMPEG, "-i", made["video_720p"].path, *wanted).stdout, "f4")[:8000]
    assert np.argmax(np.abs(np.fft.rfft(samples))) == pytest.approx(2000, abs=20)


def test_an_interlaced_film_that_does_not_tell_so_is_whole(bench, tmp_path):
    """DV in AVI: the codec implies it. Lines that change places with every frame."""
    path = tmp_path / "b.avi"
    lines = "color=s=720x480:r=30000/1001:d=1,geq=lum='if(mod(Y+N,2),60,200)':cb=128:cr=128,setfield=bff"
    dv = ("-c:v", "dvvideo", "-pix_fmt", "yuv411p", "-flags", "+ilme+ildct")
    run(*FFMPEG, "-f", "lavfi", "-i", lines, *dv, path)
    made, _ = bench.run(path, tmp_path, Stage.VIDEO_PRIMARY)
    grey = run(
        *FFMPEG,
        "-i",
        made["video_720p"].path,
        "-vf",
        "select=eq(n\\,9),format=gray",
        "-frames:v",
        "1",
        "-f",
        "rawvideo",
        "-",
    )
    column = np.frombuffer(grey.stdout, "u1").reshape(480, 720)[100:140, 320].astype(int)
    assert np.ptp(column) < 40
