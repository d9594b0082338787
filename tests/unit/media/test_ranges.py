"""Ranges and conditions, as RFC 9110 has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.media.ranges import is_known, span_of

TAG = '"abc"'


@pytest.mark.parametrize(
    ("asked", "span"),
    [
        ("bytes=0-3", (0, 3)),
        ("bytes=4-", (4, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-100", (0, 9)),
        ("bytes=9-100", (9, 9)),
        ("bytes=0-0", (0, 0)),
        ("bytes=3-2", None),  # no range at all: as if it had not been sent
        ("bytes=0-1,4-5", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=-", None),
        ("", None),
    ],
)
def test_one_range_of_ten_bytes(asked, span):
    assert span_of({"range": asked}, 10, TAG) == span


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_without_any_of_the_bytes(asked):
    with pytest.raises(ValueError, match="10 bytes"):
        span_of({"range": asked}, 10, TAG)


def test_a_range_of_other_bytes_is_not_taken():
    assert span_of({"range": "bytes=0-1", "if-range": TAG}, 10, TAG) == (0, 1)
    for other in ('"def"', f"W/{TAG}", "Sat, 31 Jan 2026 12:00:00 GMT"):
        assert span_of({"range": "bytes=0-1", "if-range": other}, 10, TAG) is None


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 30))
def test_a_span_is_what_slicing_says(first, last, size):
    content = bytes(range(size))
    if first >= size and first <= last:
        return
    span = span_of({"range": f"bytes={first}-{last}"}, size, TAG)
    if span is None:
        assert last < first
    else:
        assert content[span.first : span.last + 1] == content[first : last + 1]


@pytest.mark.parametrize(
    ("sent", "known"),
    [
        (TAG, True), (f"W/{TAG}", True), (f'"x", {TAG}', True), ("*", True), ('"x"', False), ("abc", False), ("", False),
    ],
)  # fmt: skip
def test_what_the_caller_has(sent, known):
    assert is_known({"if-none-match": sent}, TAG) is known
