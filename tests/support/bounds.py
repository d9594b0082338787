"""What a job may cost a media child: CPU seconds, its ffmpeg's among them, and memory, as the kernel counts them."""

from pathlib import Path

from processors.contract import MediaError
from schemas.errors import ErrorClass

MOST_CPU_S = 5.0
MOST_RSS_MB = 256.0
_TICKS_A_SECOND = 100


def rss_mb(pid):
    """The most memory that a process has held since its present job began."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(pid)


def cpu_s(pid):
    """What a process and those that it has waited for have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS_A_SECOND


def outcome(bench, path, workdir, *stage, most_cpu_s=MOST_CPU_S, most_rss_mb=MOST_RSS_MB):
    """The code that a file fails with for good, or None; within bounds, in the same child. `bench` has done a job."""
    children = bench.pool.pids
    child, before = children[-1], cpu_s(children[-1])
    code = None
    try:
        bench.run(path, workdir, *stage)
    except MediaError as error:
        assert error.error_class is ErrorClass.PERMANENT, error
        assert str(workdir) not in error.detail
        code = error.code
    assert bench.pool.pids == children, "the child lives"
    assert cpu_s(child) - before < most_cpu_s
    assert rss_mb(child) < most_rss_mb
    return code
