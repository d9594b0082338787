"""The watchdog against a member and lanes that the test makes up; the loop watch in a process of its own."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from streams.core.ledger import Ledger, Partition
from streams.core.slots import Slots
from streams.health import UnhealthyError, Watchdog

A = Partition("jobs", 0)


class Scene:
    """A member (`joined`, `position`, `behind`) and its lanes, in one."""

    def __init__(self):
        self.now = 0.0
        self.joined = True
        self.awaits_broker = False
        self.fetching = True
        self.read, self.end = 5, 5
        self.ledger = Ledger()
        self.ledger.assign([A])
        self.slots = Slots(1)
        self.lane = SimpleNamespace(waiting=0)
        self.lanes = {A: self.lane}
        self.dog = Watchdog(self, self, patience_s=60, clock=lambda: self.now)

    def position(self, _partition):
        return self.read

    def behind(self, _partition):
        return self.read < self.end

    def pass_by(self, seconds):
        for _ in range(seconds):
            self.now += 1
            self.dog.look()


@pytest.fixture
def scene():
    return Scene()


def test_without_an_assignment_it_gives_up_after_a_minute(scene):
    scene.joined = False
    scene.pass_by(60)
    with pytest.raises(UnhealthyError, match="no assignment"):
        scene.pass_by(2)


def test_while_no_broker_has_answered_yet_it_waits(scene):
    scene.joined, scene.awaits_broker = False, True
    scene.pass_by(300)
    scene.awaits_broker = False
    scene.pass_by(60)
    with pytest.raises(UnhealthyError, match="no assignment"):
        scene.pass_by(2)


def test_a_consumer_that_fetches_no_more_ends_at_once_though_all_seems_read(scene):
    scene.pass_by(300)
    scene.fetching = False
    with pytest.raises(UnhealthyError, match="stopped fetching"):
        scene.pass_by(1)


def test_a_rebalance_that_ends_in_time_is_fine(scene):
    for _ in range(4):
        scene.joined = False
        scene.pass_by(50)
        scene.joined = True
        scene.pass_by(1)


def test_time_that_the_process_stood_still_does_not_count(scene):
    scene.joined = False
    scene.pass_by(30)
    scene.now += 500
    scene.pass_by(30)


def test_an_idle_partition_is_fine(scene):
    scene.pass_by(300)


def test_records_that_nobody_reads_with_free_slots_are_not(scene):
    scene.end = 9
    scene.pass_by(60)
    with pytest.raises(UnhealthyError, match=r"jobs/0 has records"):
        scene.pass_by(3)


def test_slow_reading_is_fine(scene):
    scene.end = 1000
    for _ in range(10):
        scene.pass_by(50)
        scene.read += 1


def test_what_waits_for_a_slot_or_in_its_lane_is_fine(scene):
    scene.end = 1000
    scene.slots.deal([(A, "t")])
    scene.pass_by(200)
    scene.slots.give_back(A, "t")
    scene.lane.waiting = 3
    scene.pass_by(200)


def test_a_stuck_loop_ends_the_process_and_shows_where_it_hung():
    program = """
import asyncio, time
from streams.health import LoopWatch
async def hang_here():
    asyncio.create_task(LoopWatch(patience_s=0.5, interval_s=0.2).run())
    await asyncio.sleep(0.1)
    while True:
        time.sleep(0.05)
asyncio.run(hang_here())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 70
    assert "hang_here" in ended.stderr


def test_a_stuck_loop_in_another_thread_ends_the_process_too():
    program = """
import asyncio, threading, time
from streams.health import LoopWatch
other = asyncio.new_event_loop()
threading.Thread(target=other.run_forever, daemon=True).start()
def hang_there():
    time.sleep(1000)
async def main():
    asyncio.create_task(LoopWatch(lambda: other, patience_s=0.5, interval_s=0.1).run())
    await asyncio.sleep(1.5)
    print("both run", flush=True)
    other.call_soon_threadsafe(hang_there)
    await asyncio.sleep(1000)
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 70, ended.stderr
    assert ended.stdout == "both run\n"
    assert "hang_there" in ended.stderr


def test_a_loop_that_has_ended_is_not_stuck():
    """As the consumer's, while the process drains."""
    program = """
import asyncio
from streams.health import LoopWatch
over = asyncio.new_event_loop()
over.close()
async def main():
    watch = asyncio.create_task(LoopWatch(lambda: over, patience_s=0.2, interval_s=0.05).run())
    await asyncio.sleep(1)
    watch.cancel()
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=100, check=False).returncode == 0
