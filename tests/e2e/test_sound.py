"""A sound file through the whole pipeline: what a client downloads, in formats that other programs read."""

import io
import json
import subprocess

import pytest
from PIL import Image
from support import e2e

from cli.client import ApiError
from schemas.profile_sets import ProfileChoice

pytestmark = pytest.mark.stack


@pytest.fixture
async def listener(whole):
    """A tenant that wants sound, too."""
    async with e2e.actor(whole, name="sound", profiles=ProfileChoice(include=("sound",))) as found:
        yield found


@pytest.mark.parametrize(
    ("suffix", "content_type"), [("mp3", "audio/mpeg"), ("ogg", "audio/ogg"), ("wav", "audio/wav")]
)
async def test_a_recording_becomes_a_track_and_a_waveform(listener, samples, tmp_path, suffix, content_type):
    recording = samples.video.parents[1] / "audio1" / f"debian.{suffix}"
    asset = await listener.ready(await listener.upload(recording.name, content_type, recording.read_bytes()))
    assert [job.stage for job in asset.jobs] == ["audio.primary"]
    made = {variant.profile: await listener.client.download(variant) for variant in asset.variants}
    assert set(made) == {"audio", "waveform", "waveform_data"}

    (tmp_path / "track").write_bytes(made["audio"])
    [track], seconds = probed(tmp_path / "track")
    assert track == "aac"
    assert seconds == pytest.approx(probed(recording)[1], abs=0.2)
    with Image.open(io.BytesIO(made["waveform"])) as picture:
        assert (picture.format, picture.size) == ("PNG", (1200, 200))
        drawn = picture.convert("RGBA").getchannel("A").getextrema()
        assert drawn == (0, 255), "a line on a clear ground"
    points = json.loads(made["waveform_data"])
    assert len(points["data"]) == 2 * points["length"] > 0
    assert any(points["data"]), "and something is heard"
    await listener.finished_once(asset)


async def test_a_recording_that_is_announced_as_a_film_is_refused_at_complete(listener, samples):
    recording = samples.video.parents[1] / "audio1" / "debian.mp3"
    content = recording.read_bytes()
    presigned = await listener.client.presign("film.mp4", "video/mp4", len(content))
    await listener.client.put(presigned, content, "video/mp4")
    with pytest.raises(ApiError) as caught:
        await listener.client.complete(presigned.asset_id)
    assert (caught.value.status, caught.value.code) == (422, "type_mismatch")


def probed(path):
    """The codecs of the tracks, and the length in seconds."""
    asked = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name:format=duration", "-of", "json", path]
    found = json.loads(subprocess.run(asked, capture_output=True, check=True, timeout=60).stdout)
    return [stream["codec_name"] for stream in found["streams"]], float(found["format"]["duration"])
