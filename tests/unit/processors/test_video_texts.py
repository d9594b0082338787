"""What is written about a film: playlists, the storyboard's cues, loudness, the waveform."""

import array

import pytest
from PIL import Image

from processors.audio import waveform
from processors.ffmpeg import loudness
from processors.ffmpeg.loudness import Loudness
from processors.video import ladder, playlists, storyboard
from processors.video.probe import Clip
from schemas.profiles import profiles_for
from schemas.states import Stage

[HLS] = [profile for profile in profiles_for(Stage.VIDEO_LADDER) if profile.format == "hls"]
[STORYBOARD] = [profile for profile in profiles_for(Stage.VIDEO_LADDER) if profile.format == "storyboard"]
MEDIA = """#EXTM3U
#EXT-X-TARGETDURATION:6
#EXT-X-MAP:URI="720p.mp4",BYTERANGE="881@0"
#EXTINF:6.000000,
#EXT-X-BYTERANGE:600000@881
720p.mp4
#EXTINF:6.000000,
#EXT-X-BYTERANGE:900000@600881
720p.mp4
#EXTINF:0.040000,
#EXT-X-BYTERANGE:60000@1500881
720p.mp4
#EXT-X-ENDLIST
"""


def clip(width=1920, height=1080, **more):
    return Clip("mov", width, height, 10.0, 30.0, 0, 1, hdr=False, interlaced=False, **more)


def test_bandwidths_are_measured_and_a_short_rest_does_not_count_for_the_peak():
    media = playlists.read_media(MEDIA)
    assert media.duration_s == pytest.approx(12.04)
    assert media.peak == 900_000 * 8 / 6
    assert media.average == round(1_560_000 * 8 / 12.04)
    with pytest.raises(ValueError, match="without segments"):
        playlists.read_media("#EXTM3U\n")


def test_the_peak_is_never_below_the_average():
    still = MEDIA.replace("600000@881", "1000@881").replace("900000@600881", "1000@1881")
    media = playlists.read_media(still)
    assert media.peak == media.average == round(62_000 * 8 / 12.04)


def test_the_master_names_every_rung_relatively():
    media = playlists.Media(12.0, 1_000_000, 2_000_000)
    audio = playlists.Media(12.0, 128_000, 130_000)
    streams = [playlists.Stream("720p", 1280, 720, media), playlists.Stream("240p", 426, 240, media)]
    text = playlists.master(streams, {"1280x720": "avc1.64001f,mp4a.40.2"}, fps=29.97, audio=audio)
    assert 'BANDWIDTH=2130000,AVERAGE-BANDWIDTH=1128000,RESOLUTION=1280x720,FRAME-RATE=29.970,CODECS="avc1.6' in text
    assert [line for line in text.splitlines() if not line.startswith("#")] == ["720p.m3u8", "240p.m3u8"]
    silent = playlists.master(streams, {}, fps=0.0, audio=None)
    assert "audio" not in silent.lower()
    assert "FRAME-RATE" not in silent


@pytest.mark.parametrize(
    ("size", "names"),
    [
        ((3840, 2160), ["1080p", "720p", "480p", "360p", "240p"]),
        ((1080, 1920), ["1080p", "720p", "480p", "360p", "240p"]),
        ((1280, 720), ["720p", "480p", "360p", "240p"]),
        ((640, 362), ["360p", "240p"]),
        ((320, 181), ["180p"]),
    ],
)
def test_no_rung_is_above_the_source(size, names):
    made = ladder.steps(clip(*size), HLS)
    assert [step.name for step in made] == names
    assert all(step.width <= size[0] and step.height <= size[1] for step in made)
    assert all(step.width % 2 == step.height % 2 == 0 for step in made)


def test_cues_cover_the_film_and_name_the_places_of_the_pictures():
    text = storyboard.cues([0.0, 2.0, 4.5], 10.0, 192, 108)
    assert text == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nstoryboard.jpg#xywh=0,0,192,108\n\n"
        "00:00:02.000 --> 00:00:04.500\nstoryboard.jpg#xywh=192,0,192,108\n\n"
        "00:00:04.500 --> 00:00:10.000\nstoryboard.jpg#xywh=384,0,192,108\n"
    )
    assert "#xywh=0,108," in storyboard.cues([float(n) for n in range(11)], 11.0, 192, 108)


def test_a_storyboard_has_fifty_pictures_or_a_hundred():
    assert storyboard.step_s(500.0) == 10.0
    assert storyboard.step_s(10_000.0) == 100.0
    assert storyboard.step_s(10.0) == storyboard.step_s(None) == 1.0
    assert storyboard.tile_size(clip(1080, 1920), STORYBOARD) == (108, 192)


SUMMARY = """audio:{}kB subtitle:0kB
  Integrated loudness:
    I:         -25.4 LUFS
  Sample peak:
    Peak:      -10.7 dBFS
"""


def test_the_gain_keeps_the_peaks_below_full_scale():
    heard = loudness.read_summary(f"video:0kB {SUMMARY.format(99)}")
    assert heard == Loudness(-25.4, -10.7)
    assert loudness.gain_db(heard, -16.0) == 9.2  # 9.4 would be the target, and above the peaks' bound
    assert loudness.gain_db(Loudness(-8.0, 0.0), -16.0) == -8.0
    assert loudness.gain_db(Loudness(-70.0, float("-inf")), -16.0) == 0.0
    assert loudness.gain_db(Loudness(-60.0, -50.0), -16.0) == 20.0
    assert loudness.read_summary(f"video:0kB {SUMMARY.format(0)}") is None
    assert loudness.read_summary("") is None


def test_a_waveform_has_the_lowest_and_the_highest_of_each_stretch(tmp_path):
    (tmp_path / "pcm").write_bytes(array.array("h", [0, 32767, -32768, 0, 256, 512, 0]).tobytes())
    wave = waveform.read(tmp_path / "pcm", 4)
    assert (wave.samples_per_pixel, wave.length) == (2, 4)
    assert wave.data == (0, 127, -128, 0, 1, 2, 0, 0)
    waveform.draw(wave, tmp_path / "wave.png", 8, 64)
    with Image.open(tmp_path / "wave.png") as picture:
        assert (picture.size, picture.mode) == ((8, 64), "RGBA")
        alpha = picture.getchannel("A").load()
        assert alpha[0, 0] == 255 and alpha[0, 63] == 0  # up: high samples
        assert alpha[2, 63] == 255 and alpha[2, 0] == 0  # down: low ones
