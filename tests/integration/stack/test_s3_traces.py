"""The S3 server alone: it runs however long its folder's path is, and leaves nothing in the system's temp folder."""

import os
import shutil
from pathlib import Path

import pytest
from support.processes import until
from support.stack import runs_own

from cli.stack import Stack
from cli.stack.layout import layout
from cli.stack.sockets import grpc_sockets

pytestmark = pytest.mark.stack


@pytest.fixture
def folder():
    """Longer than a Unix socket's address may be."""
    top = runs_own(os.getpid(), "s3")
    yield top / ("long" * 30)
    Stack(layout(top / ("long" * 30))).stop(quick=True)
    shutil.rmtree(top, ignore_errors=True)


def logs_in_temp():
    return {path.name for path in Path("/tmp").glob("weed.*.log.*")}


def until_made(sockets):
    """The server answers before it has made the last of them."""
    until(lambda: all(path.is_socket() for path in sockets), "sockets where its program had them up to now")


def test_a_server_in_a_deep_folder_leaves_no_socket_and_no_log_elsewhere(folder):
    before = logs_in_temp()
    with Stack.start(folder, parts=("s3",)) as stack:
        assert stack.status()[0].ready
        sockets = grpc_sockets(stack.state.ports)
        until_made(sockets)
        pid = stack.pid("s3")
    assert not any(path.exists() for path in sockets)
    assert not [name for name in logs_in_temp() - before if name.endswith(f".{pid}")]

    # A killed server removes nothing; its stack does.
    with Stack.start(folder, parts=("s3",)) as stack:
        until_made(grpc_sockets(stack.state.ports))
        stack.kill("s3")
        assert all(path.exists() for path in grpc_sockets(stack.state.ports))
    assert not any(path.exists() for path in sockets)
