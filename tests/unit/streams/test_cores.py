"""Cores by quota and affinity."""

import os

import pytest

from streams.cores import available_cores


@pytest.fixture
def quota(tmp_path):
    def write(text):
        path = tmp_path / "cpu.max"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(("text", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("110000 100000", 2)])
def test_a_quota_counts_in_whole_cores(quota, text, cores):
    assert available_cores(quota(text)) == min(cores, len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("text", ["max 100000", "", "garbage"])
def test_without_a_quota_affinity_counts(quota, tmp_path, text):
    assert available_cores(quota(text)) == available_cores(tmp_path / "none") == len(os.sched_getaffinity(0))
