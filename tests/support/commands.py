"""`medialane` as an operator types it, in a process of its own."""

import os
import subprocess
import sys


def medialane(env, *arguments):
    """Run a command under these variables and no others of this process's; returns it with what it said."""
    command = [sys.executable, "-P", "-m", "cli.main", *arguments]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(command, env=kept | env, capture_output=True, text=True, timeout=240, check=False)
