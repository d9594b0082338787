"""ffprobe's words as facts and limits; the boxes of MP4; the argv that runs them."""

import subprocess

import pytest
from msgspec import structs

from processors.contract import MediaError
from processors.video import boxes
from processors.video.graph import Target, compile_run, target_size
from processors.video.probe import input_options, probe, read, steady_rate
from schemas.errors import ErrorCode
from schemas.profiles import profiles_for
from schemas.settings import ProcessorSettings
from schemas.states import Stage

SETTINGS = ProcessorSettings()


def found(**video):
    stream = {"index": 0, "codec_type": "video", "codec_name": "h264", "width": 1920, "height": 1080}
    return {"streams": [stream | {"avg_frame_rate": "30/1"} | video], "format": {"duration": "10.0"}}


def audio(index=1, codec="aac", channels=2):
    return {"index": index, "codec_type": "audio", "codec_name": codec, "channels": channels}


@pytest.mark.parametrize(
    ("video", "shown"),
    [
        ({}, (1920, 1080)),
        ({"side_data_list": [{"rotation": -90}]}, (1080, 1920)),
        ({"side_data_list": [{"rotation": 180}]}, (1920, 1080)),
        ({"side_data_list": [{"side_data_type": "CPB"}, {"rotation": 90}]}, (1080, 1920)),
        ({"width": 720, "height": 576, "sample_aspect_ratio": "64:45"}, (1024, 576)),
        ({"sample_aspect_ratio": "0:1"}, (1920, 1080)),
        ({"sample_aspect_ratio": "nonsense"}, (1920, 1080)),
    ],
)
def test_the_size_is_the_shown_one(video, shown):
    clip = read(found(**video), "mov", SETTINGS)
    assert (clip.width, clip.height) == shown


@pytest.mark.parametrize(
    ("average", "finest", "rate"),
    [
        ("30000/1001", "30000/1001", "30000/1001"),
        ("24000/1001", "24000/1001", "24000/1001"),
        ("230400/7721", "30/1", "30"),  # a few frames dropped
        ("25/1", "50/1", "25"),  # fields
        ("240/1", "240/1", "60"),
        ("120000/1001", "120000/1001", "60000/1001"),
        ("100/1", "100/1", "50"),
        ("10800000/360301", "90000/1", "30"),  # a phone's clock
        ("19/10", "30/1", "30"),  # a recorded screen
        ("15/1", "30/1", "30"),
        ("45/1", "1000/1", "60"),
        ("1000/1", "1000/1", "60"),
        ("1/1", "1/1", "1"),
        ("0/0", "25/1", "25"),
        ("0/0", "0/0", "30"),
        (None, "nonsense", "30"),
    ],
)
def test_variants_have_a_constant_frame_rate(average, finest, rate):
    assert str(steady_rate(average, finest)) == rate


@pytest.mark.parametrize(
    ("pictures", "sound", "held"),
    [
        ({"duration": "1.0"}, {"duration": "8.0"}, 7.0),
        ({"duration": "8.0", "tags": {"DURATION": "00:00:01.000000000"}}, {"tags": {"DURATION": "00:00:08.0"}}, 7.0),
        ({"duration": "9.8"}, {"duration": "10.0"}, 0.0),
        ({"duration": "1.0"}, {"duration": "99999"}, 0.0),
        ({"duration": "1.0"}, {"tags": {"DURATION": "inf:00:00"}}, 0.0),
        ({}, {"duration": "8.0"}, 0.0),
    ],
)
def test_the_last_picture_is_held_while_sound_goes_on(pictures, sound, held):
    streams = found(**pictures)
    streams["streams"].append(audio() | sound)
    assert read(streams, "mov", SETTINGS).held_s == held


def test_sound_that_cannot_be_read_is_left_out():
    streams = found()
    streams["streams"] += [audio(1, "evil"), audio(2, "aac", 0), audio(3, "pcm_s16le", 64), audio(4)]
    assert read(streams, "mov", SETTINGS).audio == 4


@pytest.mark.parametrize("codec", ["amr_nb", "amr_wb"])
def test_the_sound_of_old_phones_is_kept(codec):
    streams = found()
    streams["streams"].append(audio(codec=codec, channels=1))
    assert read(streams, "mov", SETTINGS).audio == 1
    assert {"amrnb", "amrwb"} <= set(input_options("mov")["codec_whitelist"].split(",")), "what the decoders are called"


def test_a_duration_that_nobody_knows_is_none():
    streams = found() | {"format": {"duration": "N/A"}}
    assert read(streams, "matroska", SETTINGS).duration_s is None


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        ({"streams": [audio()]}, ErrorCode.NO_VIDEO_STREAM),
        ({}, ErrorCode.NO_VIDEO_STREAM),
        (found(disposition={"attached_pic": 1}), ErrorCode.NO_VIDEO_STREAM),
        (found(width=0), ErrorCode.CORRUPT),
        (found(codec_name="wmv3"), ErrorCode.UNSUPPORTED_FORMAT),
        (found(width=20_000), ErrorCode.TOO_MANY_PIXELS),
        (found(sample_aspect_ratio="9:1"), ErrorCode.TOO_MANY_PIXELS),
        (found() | {"format": {"duration": "99999"}}, ErrorCode.TOO_LONG),
        (found(avg_frame_rate="90000/1"), ErrorCode.TOO_MANY_FRAMES),
        ({"streams": [audio(i) for i in range(40)]}, ErrorCode.LIMIT_EXCEEDED),
    ],
)
def test_what_is_past_a_cap_is_refused_before_it_is_decoded(streams, code):
    with pytest.raises(MediaError) as caught:
        read(streams, "mov", SETTINGS)
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("width", "height", "rate", "hours"),
    [(1920, 1080, "60/1", 4), (3840, 2160, "60/1", 2), (4096, 2160, "60000/1001", 2), (3840, 2160, "30/1", 4)],
)
def test_a_long_film_of_many_pixels_and_frames_is_taken_and_its_measure_is_what_is_refused(width, height, rate, hours):
    film = found(width=width, height=height, avg_frame_rate=rate) | {"format": {"duration": f"{hours * 3600}"}}
    work_s = read(film, "mov", SETTINGS).work_s
    assert 0.4 * SETTINGS.max_video_work_s < work_s < SETTINGS.max_video_work_s
    with pytest.raises(MediaError) as caught:
        read(film, "mov", structs.replace(SETTINGS, max_video_work_s=work_s - 1))
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED


def test_hours_of_skipped_frames_are_refused_by_what_they_would_take():
    film = found(width=4096, height=4096, avg_frame_rate="60/1") | {"format": {"duration": "14400"}}
    with pytest.raises(MediaError) as caught:
        read(film, "mov", SETTINGS)
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
    assert caught.value.detail == (
        "4096 x 4096 pixels at 60 frames a second for 14400 s are as much as 233017 s of 1920 x 1080 at 30; "
        "allowed are 64800 s."
    )


def test_the_longest_film_in_usual_pixels_is_taken_whatever_is_set():
    strict = structs.replace(SETTINGS, max_video_work_s=1.0)
    assert read(found() | {"format": {"duration": "14400"}}, "mov", strict).work_s == 14_400


def test_one_run_reads_once_under_white_lists_and_writes_every_target(tmp_path):
    streams = found()
    streams["streams"].append(audio())
    clip = read(streams, "mov", SETTINGS)
    targets = [Target(p, *target_size(clip, p), tmp_path / p.name) for p in profiles_for(Stage.VIDEO_PRIMARY)]
    argv = compile_run(tmp_path / "in.mp4", clip, targets, threads=2, max_seconds=60)
    assert argv.count("-i") == 1
    before = argv[: argv.index("-i")]
    for option in ("-protocol_whitelist", "-format_whitelist", "-codec_whitelist", "-f"):
        assert option in before
    graph = argv[argv.index("-filter_complex") + 1]
    # The source is scaled once, each smaller one comes from the larger: no branch starts at the source again.
    assert graph.count("[0:0]") == 1
    assert [str(t.path) for t in targets if str(t.path) in argv] == [str(t.path) for t in targets]
    assert argv.count("-map_metadata") == 3
    assert "-nostdin" in argv


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    path = tmp_path_factory.mktemp("movie") / "a.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=1"]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *source, "-pix_fmt", "yuv420p", path], check=True)
    return path


def test_the_header_that_we_wrote_is_read(movie):
    made = boxes.read_movie(movie)
    assert (made.width, made.height) == (64, 48)
    assert made.duration_s == pytest.approx(1.0, abs=0.11)


def test_an_mp4_cut_anywhere_is_truncated_and_padding_after_it_is_not(movie, tmp_path):
    data = movie.read_bytes()
    boxes.check_complete(movie)
    path = tmp_path / "b.mp4"
    path.write_bytes(data + bytes(100))
    boxes.check_complete(path)
    for end in [*range(40, len(data) - 1, 501), len(data) - 1]:
        path.write_bytes(data[:end])
        with pytest.raises(MediaError) as caught:
            boxes.check_complete(path)
        assert caught.value.code is ErrorCode.TRUNCATED, end


@pytest.mark.parametrize("script", ["#EXTM3U\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{}'\n"])
@pytest.mark.parametrize("video_format", ["mp4", "mkv", "avi"])
def test_a_script_that_came_past_the_sniffer_opens_no_other_file(movie, tmp_path, script, video_format):
    path = tmp_path / "a.mp4"
    path.write_text(script.format(movie))
    with pytest.raises(MediaError) as caught:
        probe(path, video_format, SETTINGS)
    assert caught.value.code in {ErrorCode.TRUNCATED, ErrorCode.CORRUPT}
