"""The audio pipeline: one probe, one look at the loudness, one ffmpeg run, then the waveform."""

from pathlib import Path
from typing import Any

import ffmpeg

from processors.audio import waveform
from processors.audio.probe import Track, input_options, probe
from processors.contract import MediaError
from processors.ffmpeg import helper, loudness
from processors.ffmpeg.argv import AAC, COMMON, command
from processors.ffmpeg.progress import Progress
from processors.ffmpeg.soundtrack import heard
from processors.job import Job, Outcome
from processors.video import boxes
from schemas.details import Details
from schemas.errors import ErrorCode
from schemas.profiles import Profile

_PCM = "waveform.pcm"


def process(job: Job, path: Path, audio_format: str) -> Outcome:
    """Make a job's variants of an audio file. Raises `MediaError`."""
    with job.timings.step("probe"):
        if audio_format == "m4a":
            boxes.check_complete(path)
        track = probe(path, audio_format, job.settings)
    rss_mb, duration_s = _make(job, path, track) if job.profiles else (0.0, track.duration_s)
    return Outcome(
        kind="audio",
        format=audio_format,
        width=0,
        height=0,
        duration_s=duration_s,
        helper_rss_mb=rss_mb,
        details=Details(format=audio_format, channels=track.channels),
    )


def _make(job: Job, path: Path, track: Track) -> tuple[float, float]:
    """Make and announce everything; returns the peak memory of what was run, MiB, and the true duration, seconds."""
    profiles: dict[str, Profile] = {profile.format: profile for profile in job.profiles}
    limit = job.settings
    with job.timings.step("loudness"):
        options = input_options(track.demuxer)
        level = loudness.measure(path, options, track.stream, track.channels, max_seconds=limit.max_video_seconds)
    if level is None:
        raise MediaError(ErrorCode.CORRUPT, "No sound of the file can be decoded.")
    pcm, target = job.workdir / _PCM, profiles.get("m4a")
    gain = loudness.gain_db(level, target.loudness) if target and target.loudness is not None else 0.0
    with job.timings.step("ffmpeg"):
        ran = helper.run(
            compile_run(job, path, track, target, pcm, gain), reads=path, writes=job.workdir,
            cpu_s=limit.video_timeout_s, wall_s=limit.video_timeout_s, disk_bytes=limit.max_temp_bytes,
            on_line=Progress(job, track.duration_s).hear,
        )  # fmt: skip
    duration_s = round(pcm.stat().st_size / 2 / waveform.RATE_HZ, 3)
    if not duration_s:
        raise MediaError(ErrorCode.CORRUPT, "No sound of the file can be decoded.")
    if target:
        job.finish(target, 0, 0, duration_s)
    with job.timings.step("waveform"):
        _waveforms(job, pcm, profiles)
    pcm.unlink()
    return ran.rss_mb, duration_s


def _waveforms(job: Job, pcm: Path, profiles: dict[str, Profile]) -> None:
    widths = {profiles[kind].width or 1200 for kind in ("png", "json") if kind in profiles}
    waves = {width: waveform.read(pcm, width) for width in widths}
    if picture := profiles.get("png"):
        width, height = picture.width or 1200, picture.height or 200
        waveform.draw(waves[width], job.output(picture), width, height)
        job.finish(picture, width, height)
    if numbers := profiles.get("json"):
        wave = waves[numbers.width or 1200]
        waveform.write_json(wave, job.output(numbers))
        job.finish(numbers, 0, 0)


def compile_run(job: Job, source: Path, track: Track, target: Profile | None, pcm: Path, gain_db: float) -> list[str]:
    """The argv of the one run: AAC, if it is wanted, and a small copy of the samples for the waveform."""
    read = ffmpeg.input(f"file:{source}", **input_options(track.demuxer), t=job.settings.max_video_seconds)
    sound = heard(read, track.stream, track.channels).filter("volume", f"{gain_db}dB")
    samples: dict[str, Any] = {"f": "s16le", "acodec": "pcm_s16le", "ac": 1, "ar": waveform.RATE_HZ}
    if target is None:
        return command(ffmpeg.output(sound, str(pcm), **samples, **COMMON), "-progress", "pipe:1")
    halves = sound.filter_multi_output("asplit", 2)
    out = ffmpeg.output(halves[0], str(job.output(target)), f="mp4", movflags="+faststart", **AAC, **COMMON)
    both = ffmpeg.merge_outputs(out, ffmpeg.output(halves[1], str(pcm), **samples, **COMMON))
    return command(both, "-progress", "pipe:1")
