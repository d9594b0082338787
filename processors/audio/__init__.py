"""Audio: probe once, then AAC in M4A and the waveform from one decode in one supervised ffmpeg run."""

from processors.audio.pipeline import process

__all__ = ["process"]
