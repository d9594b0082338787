"""Video: probe once, then every variant from one decode in one supervised ffmpeg run."""

from processors.video.pipeline import process

__all__ = ["process"]
