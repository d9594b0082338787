"""Why a stack does not start, shown on the real thing: cause first, then cure, and nothing left running."""

import os
import shutil
import socket
import subprocess
import time

import pytest

from cli.stack import Stack, StackError
from cli.stack.layout import layout
from cli.stack.processes import alive

pytestmark = pytest.mark.stack


def refusal(folder, **options):
    """The error of a start that must fail; whatever it had started is gone again."""
    with pytest.raises(StackError) as refused:
        Stack.start(folder, **options)
    state = Stack(layout(folder))
    assert not state.is_running
    if layout(folder).state.exists():
        left = [part.process for part in state.state.parts.values() if part.process]
        assert not [process for process in left if alive(process.pid, process.started)]
    return refused.value


def test_a_pinned_port_that_is_taken(folder):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        error = refusal(folder, parts=("postgres",), ports={"postgres": port})
    assert error.cause.startswith(f"port {port} for postgres is taken by process {os.getpid()}")
    assert error.cure == "Stop it, or choose another with --port postgres=NUMBER"


def test_no_java(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    error = refusal(folder, parts=("kafka",))
    assert error.cause == "no Java on PATH: Kafka needs a JDK, 17 or newer"
    assert "bootstrap.sh" in error.cure


def test_a_data_folder_that_another_postgres_holds(folder):
    with Stack.start(folder, parts=("postgres",)):
        pass
    data = layout(folder).postgres_data
    user = ["setpriv", "--reuid", "postgres", "--clear-groups", "--"] if os.geteuid() == 0 else []
    with subprocess.Popen([*user, "sleep", "600"], cwd=data) as other:
        # What a Postgres does that was started by hand on the same folder: it works there, its pid comes first.
        (data / "postmaster.pid").write_text(f"{other.pid}\n{data}\n{int(time.time())}\n5432\n\n127.0.0.1\n")
        os.chown(data / "postmaster.pid", data.stat().st_uid, data.stat().st_gid)
        try:
            error = refusal(folder, parts=("postgres",))
        finally:
            other.kill()
    assert "postgres stopped during its start (exit 1): another process holds its data folder" in error.cause
    assert "Stop that process" in error.cure

    # The same file of a process that is gone is only a stale lock.
    with Stack.start(folder, parts=("postgres",)) as stack:
        assert stack.status()[0].ready


def test_a_database_whose_passwords_were_lost(folder):
    with Stack.start(folder, parts=("postgres",)):
        pass
    layout(folder).state.unlink()
    error = refusal(folder, parts=("postgres",))
    assert "was made with other passwords than those in state.json" in error.cause
    assert str(folder) in error.cure


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's Postgres runs as somebody else")
def test_a_folder_that_postgres_may_not_enter_gets_its_database_elsewhere_and_forgets_it_when_deleted(folder):
    closed = folder / "closed"
    closed.mkdir(parents=True)
    closed.chmod(0o700)
    files = layout(closed / "stack")
    for _ in range(2):
        with Stack.start(files.folder, parts=("postgres",)) as stack:
            assert stack.status()[0].ready
            assert not files.postgres_data.is_relative_to(folder)
        shutil.rmtree(files.folder)  # by hand: the second start finds a database that it has no password for
    files.delete()
    assert not files.postgres_data.parent.exists()


def test_a_full_disk(folder):
    """A file system of 8 MB, which nobody calls enough."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a small file system here")
    try:
        error = refusal(folder, parts=("postgres",))
        assert error.cause.startswith(f"the disk of {folder}")
        assert "is full: 7 MB free, 1024 MB needed" in error.cause or "is full: 8 MB free" in error.cause
    finally:
        subprocess.run(["umount", folder], check=True)


def test_the_command_says_it_in_one_line_and_fails(folder, capsys):
    from cli import main

    with pytest.raises(SystemExit) as ended, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["medialane", "stack", "up", "--dir", str(folder), "--port", "api=none"])
        main.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "medialane: --port api=none makes no sense. Write it as PART=NUMBER, for instance api=8080\n"
    )
