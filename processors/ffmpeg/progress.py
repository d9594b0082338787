"""ffmpeg's `-progress` as the share of the job that is done."""

from processors.job import Job

MICROSECONDS = 1_000_000


class Progress:
    """Hears ffmpeg's progress, line by line, and tells the job; the run is the part of the job from `since` on."""

    def __init__(self, job: Job, duration_s: float | None, since: float = 0.0) -> None:
        self._job = job
        self._duration_s = duration_s
        self._since = since

    def hear(self, line: str) -> bool:
        """Take one line; true at the end of a block of them, which comes twice a second."""
        name, _, value = line.strip().partition("=")
        if name == "out_time_us" and self._duration_s and value.lstrip("-").isdigit():
            done = min(1.0, max(0.0, int(value) / MICROSECONDS / self._duration_s))
            self._job.progressed(self._since + (1 - self._since) * done)
        return name == "progress"
