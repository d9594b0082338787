"""Cores by quota and affinity, memory by its limit, and how many children they are enough for."""

import os

import pytest
from structlog.testing import capture_logs

from streams.cores import CHILD_MIB, available_cores, available_memory_mib, children


@pytest.fixture
def quota(tmp_path):
    def write(text):
        path = tmp_path / "limit"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(("text", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("110000 100000", 2)])
def test_a_quota_counts_in_whole_cores(quota, text, cores):
    assert available_cores(quota(text)) == min(cores, len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("text", ["max 100000", "", "garbage"])
def test_without_a_quota_affinity_counts(quota, tmp_path, text):
    assert available_cores(quota(text)) == available_cores(tmp_path / "none") == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("text", "mib"), [("8589934592\n", 8192), ("max\n", None), ("", None), ("garbage", None)])
def test_the_memory_of_a_container_is_its_limit(quota, text, mib):
    assert available_memory_mib(quota(text)) == mib


def test_without_a_limit_memory_is_not_known(tmp_path):
    assert available_memory_mib(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("wanted", "cores", "gib", "started", "warned"),
    [
        (0, 4, None, 4, None),
        (0, 4, 8, 4, None),
        (0, 4, 4, 4, None),
        (0, 16, 4, 4, "fewer children than cores"),
        (0, 4, 0.5, 1, "fewer children than cores"),
        (0, 1, 0.5, 1, None),
        (3, 1, 4, 3, None),
        (8, 16, 4, 8, "more children than the container's memory has room for"),
        (8, 4, None, 8, None),
    ],
)
def test_children_are_as_many_as_cores_and_memory_have_room_for(wanted, cores, gib, started, warned):
    memory_mib = None if gib is None else int(gib * CHILD_MIB)
    with capture_logs() as logged:
        assert children(wanted, cores=cores, memory_mib=memory_mib) == started
    assert len(logged) == (warned is not None)
    for line in logged:
        assert line["event"].startswith(warned)
        assert (line["children"], line["cores"], line["memory_mib"]) == (started, cores, memory_mib)
