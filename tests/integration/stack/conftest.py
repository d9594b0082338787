"""Fixtures of tests that start stacks of their own."""

import os

import pytest
from support.stack import release, runs_own


@pytest.fixture
def folder(request):
    """A folder for a stack of this test's own; whatever is left of it is removed."""
    found = runs_own(os.getpid(), request.node.name[:40])
    yield found
    release(found)
