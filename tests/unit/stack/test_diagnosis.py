"""What a part printed before it ended, and what the system refused, is said cause first, then cure."""

import errno
import os
from importlib import import_module
from pathlib import Path

import pytest

from cli.stack import ports, state
from cli.stack.diagnosis import diagnose, refused
from cli.stack.errors import StackError
from cli.stack.layout import Layout
from cli.stack.parts import Context, build


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ("java.net.BindException: Address already in use", "a port of it is taken"),
        ("FATAL:  could not write lock file: No space left on device", "the disk is full"),
        ("There is insufficient memory for the Java Runtime Environment", "there is not enough memory"),
        ('FATAL:  lock file "postmaster.pid" already exists', "another process holds its data folder"),
        ("kafka: Lock acquisition failure", "another process holds its data folder"),
        ("pg_wal/x: No space left on device\ninitdb: removing data directory", "the disk is full"),
        ("write /x: no space left on device\ngoroutine 1 [running]:\nmain.main()\n", "the disk is full"),
        ("fork/exec: cannot allocate memory", "there is not enough memory"),
        ("fatal error: runtime: out of memory\n\ngoroutine 1", "there is not enough memory"),
        ("fatal error: failed to reserve page summary memory", "there is not enough memory"),
        ("initdb: could not access directory: Permission denied", "it may not use its data folder"),
        ("java.lang.UnsupportedClassVersionError: x", "this Java is too old"),
        ("medialane: MEDIALANE_S3_BUCKET is not set: Bucket that", "MEDIALANE_S3_BUCKET is not set: Bucket that"),
        (
            "medialane: MEDIALANE_API_PORT='one two' is not valid: Expected `int`\nMEDIALANE_API_HOST is not set: Address",
            "MEDIALANE_API_PORT='one two' is not valid: Expected `int`; MEDIALANE_API_HOST is not set: Address",
        ),
        ("one\nsomething odd\n\n", "something odd"),
        (
            "Formatting\nException: X\n\tat a.b(C:1)\nCaused by: Y: why\n\tat d.e(F:2)\n\t... 3 more\n",
            "Caused by: Y: why",
        ),
        ("initdb: error: it is so\nchild process exited with exit code 1\ninitdb: removing contents of x", "it is so"),
    ],
)
def test_the_log_of_a_part_that_did_not_start_is_read_for_people(log, cause):
    error = diagnose("it", log, exit_code=1, log_path=Path("logs/it.log"))
    assert error.cause.startswith("it stopped during its start (exit 1): ")
    assert cause in error.cause
    assert "Its log: logs/it.log" in error.cure


def test_a_part_that_only_hangs_is_told_from_one_that_died():
    error = diagnose("it", "", exit_code=None, log_path=Path("log"))
    assert error.cause == "it did not become ready in time"


def test_a_part_that_was_killed_without_a_word_most_likely_wanted_memory():
    error = diagnose("it", "one\ntwo\n", exit_code=-9, log_path=Path("log"))
    assert error.cause == "it stopped during its start (exit -9): it was killed, most likely for want of memory"
    full = diagnose("it", "No space left on device", exit_code=-9, log_path=Path("log"))
    assert full.cause.endswith("the disk is full")


def test_what_the_system_refuses_the_stack_itself_has_a_cure_too():
    error = refused(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "state.json"))
    assert (error.cause, error.cure) == ("state.json: No space left on device", "Free some space")
    assert refused(OSError("something odd")).cause == "something odd"


@pytest.fixture
def context(open_folder):
    """A stack's, where every user may come: initdb is not run as root."""
    files = Layout(open_folder / "stack")
    files.make()
    return Context(files, ports.assign({}, {}, ports.Claims()), state.Secrets.generate())


def program(folder, name, *said):
    """A program that says that and fails."""
    made = folder / name
    made.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in said) + "exit 1\n")
    made.chmod(0o755)
    return made


async def failure(part):
    with pytest.raises(StackError) as failed:
        await part.prepare()
    return failed.value


async def test_a_disk_that_is_full_for_initdb_is_said(context, monkeypatch):
    folder = context.layout.folder.parent
    monkeypatch.setattr(import_module("cli.stack.parts.postgres"), "postgres_programs", lambda: folder)
    program(folder, "initdb", "FATAL: could not write: No space left on device", "initdb: removing data directory")
    error = await failure(build("postgres", context))
    assert error.cause == "postgres stopped during its start (exit 1): the disk is full"
    assert error.cure == f"Free some space. Its log: {context.layout.log('postgres')}"


async def test_why_a_folder_of_kafka_could_not_be_formatted_is_said(context, monkeypatch):
    java = program(context.layout.folder, "java", "Formatting /x", "Exception: it is so", "\tat kafka.X(Y:1)")
    monkeypatch.setattr(import_module("cli.stack.parts.kafka"), "java", lambda: str(java))
    error = await failure(build("kafka", context))
    assert error.cause == "kafka stopped during its start (exit 1): Exception: it is so"
