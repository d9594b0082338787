"""Child processes: started so that they die with the supervisor, known by pid and start time, stopped within bounds."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.stack.state import ProcessId
from cli.stack.watch import alive, kill_group, stat
from processors.sandbox.priority import stand_back

__all__ = [
    "Command", "alive", "anybody_in", "command_of", "identify", "interrupt", "kill_group", "resident_bytes", "spawn",
]  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A program to run. `env` comes on top of a bare environment; `user` is for Postgres, which refuses root.

    `nice` is how far its session stands back where the CPU is short.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    cwd: Path | None = None
    nice: int = 0


# Nothing of the caller's environment reaches a part but these: a stray MEDIALANE_* variable must not change a stack.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "JAVA_HOME", "TMPDIR", "SSL_CERT_FILE", "PYTHONPATH")


def spawn(command: Command, log: Path) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, its output appended to `log`.

    `setpriv` asks the kernel for SIGKILL at the supervisor's death, after it has changed the user (which would
    clear that wish). The wish is bound to the calling thread, so call this from the main thread only.
    """
    launcher = ["setpriv", "--pdeathsig", "KILL"]
    if command.user is not None:
        launcher += ["--reuid", command.user, "--regid", command.user, "--init-groups"]
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*launcher, "--", *command.argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**env, **command.env},
            cwd=command.cwd,
            start_new_session=True,
        )
    stand_back(process.pid, command.nice)
    return process


def identify(pid: int) -> ProcessId | None:
    """The process with this number, None if there is none."""
    found = stat(pid)
    return None if found is None else ProcessId(pid=pid, started=found[1])


def resident_bytes(process: ProcessId) -> int:
    """Resident memory of a process and everything in its group, bytes; 0 when it is gone.

    Pages shared between the processes of a group (Postgres' buffers) are counted once per process.
    """
    if not alive(process.pid, process.started):
        return 0
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            found = stat(int(entry.name))
            if found is not None and found[0] == process.pid:
                with contextlib.suppress(OSError):
                    total += int((entry / "statm").read_text(encoding="ascii").split()[1]) * page
    return total


def anybody_in(folder: Path) -> bool:
    """Whether a living process works in this folder (zombies have no folder any more)."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cwd").samefile(folder):
                    return True
    return False


def command_of(pid: int) -> str:
    """A process's command line for people, shortened; empty when it is gone or not ours to see."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return " ".join(word.decode(errors="replace") for word in words if word)[:80]


def interrupt(process: ProcessId, number: signal.Signals) -> bool:
    """Signal that one process, not its group; False if it is gone."""
    if not alive(process.pid, process.started):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)
        return True
    return False
