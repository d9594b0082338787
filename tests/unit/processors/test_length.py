"""The length of a film that does not tell it: how far its packets go, if they were all read."""

import pytest
from msgspec import structs

from processors.contract import MediaError
from processors.ffmpeg import helper
from processors.video import length
from processors.video.probe import Clip
from schemas.errors import ErrorCode
from schemas.settings import ProcessorSettings

CLIP = Clip("matroska", 640, 480, None, 30.0, 0, None, hdr=False, interlaced=False)

SETTINGS = ProcessorSettings()


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """The clip as it is measured by a run that ends with an error after it got as far as two seconds."""

    def measure(code, clip=CLIP, settings=SETTINGS):
        def run(*_, on_line, **__):
            on_line("out_time_us=2000000\n")
            raise MediaError(code)

        monkeypatch.setattr(helper, "run", run)
        return length.told(tmp_path / "a.webm", clip, settings)

    return measure


@pytest.mark.parametrize(
    "code", [ErrorCode.PROCESSING_TIMEOUT, ErrorCode.LIMIT_EXCEEDED, ErrorCode.CHILD_DIED, ErrorCode.NO_TEMP_SPACE]
)
def test_a_measuring_that_was_cut_off_tells_no_length(measured, code):
    with pytest.raises(MediaError) as caught:
        measured(code)
    assert caught.value.code is code


def test_what_was_measured_counts_by_its_pixels_too(measured):
    small = ProcessorSettings(max_video_seconds=3.0, max_video_work_s=4.0)
    huge = structs.replace(CLIP, width=3840, height=2160)
    with pytest.raises(MediaError) as caught:
        measured(ErrorCode.CORRUPT, huge, small)
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED


def test_a_film_that_breaks_off_is_as_long_as_what_is_there(measured):
    assert measured(ErrorCode.CORRUPT).duration_s == 2.0
