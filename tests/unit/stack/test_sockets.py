"""Sockets that the S3 server left are removed, and none on which somebody listens."""

import socket
import tempfile
from pathlib import Path

import pytest

from cli.stack import sockets, state
from cli.stack.layout import Layout
from cli.stack.leftovers import sweep_leftovers

PORTS = {"s3": 11_000, "s3-master": 12_000, "s3-volume": 13_000, "api": 14_000}


@pytest.fixture
def folder(monkeypatch):
    """In the place of /tmp; pytest's own folder may be too deep for a socket."""
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.setattr(sockets, "_FOLDER", Path(name))
        yield Path(name)


def listening(path):
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    return made


@pytest.mark.parametrize("boot", [state.boot_id(), "another"])
def test_dead_ones_go_when_leftovers_are_swept_and_another_servers_stay(folder, tmp_path, boot):
    dead, alive, strange = (folder / f"seaweedfs-{name}.sock" for name in ("s3-grpc-21000", "master-grpc-22000", "x"))
    for path in (dead, strange):
        listening(path).close()
    files = Layout(tmp_path)
    state.save(files.state, state.StackState(secrets=state.Secrets.generate(), ports=PORTS, boot=boot))
    with listening(alive):
        sweep_leftovers(files)
        assert sorted(folder.iterdir()) == [alive, strange]
    sweep_leftovers(files)
    assert list(folder.iterdir()) == [strange]
