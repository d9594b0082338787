"""A process's life, in a process of its own: signals, a drain, a defect."""

import signal
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
import asyncio, sys
from connectors.telemetry import Telemetry
from schemas.settings import TelemetrySettings
from streams.lifecycle import live

async def main():
    settings = TelemetrySettings()
    drained = asyncio.Event()

    async def work():
        await asyncio.sleep(3600)

    async def broken():
        raise ValueError("a defect")

    async def drain():
        print("draining", flush=True)
        await asyncio.sleep({drain_s})
        print("drained", flush=True)

    async def ready():
        return []

    async def hello():
        print("up", flush=True)
        await asyncio.sleep(3600)

    tasks = {{"hello": hello, "work": {work}}}
    telemetry = Telemetry.start(settings, process="keeper")
    return await live(telemetry, settings, tasks, ready=ready, drain=drain)

sys.exit(asyncio.run(main()))
"""


def rest(process):
    """What it still prints, and its end. Not `communicate`, which loses what `readline` has read ahead."""
    printed = process.stdout.read()
    process.wait(timeout=60)
    return printed


def start(work="work", drain_s=0):
    program = textwrap.dedent(PROGRAM).format(work=work, drain_s=drain_s)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_with_0(number):
    process = start()
    process.send_signal(number)
    assert rest(process) == "draining\ndrained\n"
    assert process.returncode == 0


def test_a_second_signal_ends_it_at_once():
    process = start(drain_s=3600)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "draining\n"
    process.send_signal(signal.SIGTERM)
    assert rest(process) == ""
    assert process.returncode == 130


def test_a_task_that_ends_is_a_defect_and_what_runs_is_drained():
    process = start(work="broken")
    assert rest(process) == "draining\ndrained\n"
    assert process.returncode == 1
