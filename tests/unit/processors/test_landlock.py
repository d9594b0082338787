"""What a confined process reaches of other processes: neither by signals nor by sockets that need no file."""

import os
import socket
import subprocess
import sys

import pytest
from support.nobody import as_nobody

from processors.sandbox import landlock

# Tries each act before and after the confinement, and says which succeeded.
CODE = """
import os, socket, subprocess, sys
from processors.sandbox import landlock

def tcp(): socket.socket().connect(("127.0.0.1", int(sys.argv[1])))
def listening(): socket.socket().bind(("127.0.0.1", 0))
def abstract(): socket.socket(socket.AF_UNIX).connect("\\0" + sys.argv[2])
def parent(): os.kill(os.getppid(), 0)
def itself(): os.kill(os.getpid(), 0)
def child():
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as started: started.kill()

def tried():
    for act in (tcp, listening, abstract, parent, itself, child):
        try: act()
        except PermissionError: continue
        yield act.__name__

print(*tried())
landlock.confine((), landlock.of_python(), ())
print(*tried())
"""


@pytest.fixture
def reached():
    """The acts that succeed before the confinement, and those that do after it."""
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as abstract:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        abstract.bind(f"\0medialane-test-{os.getpid()}")
        abstract.listen()
        argv = [sys.executable, "-c", CODE, str(tcp.getsockname()[1]), f"medialane-test-{os.getpid()}"]
        before, after = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert before == "tcp listening abstract parent itself child"
    return set(after.split())


@pytest.mark.skipif(landlock.version() < 6, reason="this kernel's Landlock is older than its sixth version")
def test_a_confined_process_reaches_itself_and_what_it_starts(reached):
    assert reached == {"itself", "child"}


@pytest.mark.skipif(landlock.version() < 4, reason="this kernel's Landlock is older than its fourth version")
def test_a_confined_process_has_no_tcp(reached):
    assert not reached & {"tcp", "listening"}


def confined():
    """What a process finds when it has confined itself."""
    try:
        landlock.confine((), (), ())
    except OSError as error:
        return str(error)
    try:
        os.close(os.open("/etc/passwd", os.O_RDONLY))
    except PermissionError:
        return "confined"
    return "not confined"


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
def test_a_user_without_privileges_may_be_confined():
    assert as_nobody(confined) == "confined"
