"""A part with processes of its own leaves none of them either, when its supervisor is killed."""

import os
import signal
import subprocess
import sys

import pytest
from support.processes import alive, descendants, until

from cli.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.slow]
START = """
import sys, time
from pathlib import Path
from cli.stack import Stack
stack = Stack.start(Path(sys.argv[1]), parts=("postgres", "kafka", "s3", "media-images"))
print("ready", flush=True)
time.sleep(600)
"""


def test_no_child_of_a_media_worker_outlives_a_killed_supervisor(folder):
    with subprocess.Popen([sys.executable, "-c", START, folder], stdout=subprocess.PIPE, text=True) as caller:
        try:
            assert caller.stdout.readline() == "ready\n"
            stack = Stack.attach(folder)
            worker = stack.pid("media-images")
            # One that makes the others, and at least one of these: warm before the first job comes.
            children = until(lambda: len(found := descendants(worker)) >= 2 and found, "the worker's children")
            os.kill(stack.state.supervisor.pid, signal.SIGKILL)
            left = {worker, *children}
            until(lambda: not any(map(alive, left)), f"the end of {left}")
        finally:
            caller.kill()
