"""Which files are read whole to be answered: small texts, and nothing that only says it is one."""

import pytest

from api.media.service import File

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("kind", "size", "is_read"),
    [
        ("application/vnd.apple.mpegurl", 200_000, True),
        ("text/vtt", 4 * MIB, True),
        ("text/vtt", 4 * MIB + 1, False),
        ("application/vnd.apple.mpegurl", 4096 * MIB, False),
        ("video/mp4", 1, False),
    ],
)
def test_only_small_texts_are_read_whole(kind, size, is_read):
    assert File("key", kind, size, "").names_others is is_read
