"""ffmpeg's `-progress` as the share of the job that is done."""

from processors.job import Job

_MICROSECONDS = 1_000_000


def reached_s(line: str) -> float | None:
    """How far ffmpeg is, seconds, if the line says so."""
    name, _, value = line.strip().partition("=")
    return int(value) / _MICROSECONDS if name == "out_time_us" and value.lstrip("-").isdigit() else None


class Progress:
    """Hears ffmpeg's progress, line by line, and tells the job."""

    def __init__(self, job: Job, duration_s: float | None) -> None:
        self._job = job
        self._duration_s = duration_s

    def hear(self, line: str) -> bool:
        """Take one line; true at the end of a block of them, which comes twice a second."""
        reached = reached_s(line)
        if reached is not None and self._duration_s:
            self._job.progressed(min(1.0, max(0.0, reached / self._duration_s)))
        return line.strip().partition("=")[0] == "progress"
