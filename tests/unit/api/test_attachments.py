"""Names of files that are saved: what browsers of today read, what others read, and what must not get into a header."""

import re
from urllib.parse import unquote

import pytest

from api.attachments import attachment, named_after


def names(value):
    """What a reader of RFC 5987 makes of it, and what others do."""
    plain, encoded = re.fullmatch(
        r"""attachment; filename="([^"\\]*)"; filename\*=UTF-8''([!#$&+.^_`|~%\w-]*)""", value
    ).groups()
    return unquote(encoded), plain


@pytest.mark.parametrize(
    ("file_name", "whole", "plain"),
    [
        ("beach day.jpg", "beach day.jpg", "beach day.jpg"),
        ("Strandtag äö 海.jpg", "Strandtag äö 海.jpg", "Strandtag __ _.jpg"),
        ('it\'s 100% "me";.jpg', "it's 100% _me_;.jpg", "it's 100_ _me__.jpg"),
        ("../../etc/passwd", "_.._etc_passwd", "_.._etc_passwd"),
        ("a\\b\r\nSet-Cookie: x", "a_b__Set-Cookie: x", "a_b__Set-Cookie_ x"),
        ("gpj.\u202eexe", "gpj._exe", "gpj._exe"),
        (" .. ", "file", "file"),
        ("海" * 255 + ".jpeg", "海" * 123 + ".jpeg", "_" * 123 + ".jpeg"),
    ],
)
def test_a_name_is_told_twice_and_holds_nothing_but_a_name(file_name, whole, plain):
    value = attachment(file_name)
    assert value.isascii()
    assert names(value) == (whole, plain)


@pytest.mark.parametrize(
    ("file_name", "key", "expected"),
    [
        ("beach.day.JPG", "media/t/c/thumbnail.v1.webp", "beach.day.webp"),
        ("film", "media/t/c/hls.v1-0123/hls.m3u8", "film.m3u8"),
        (".mp4", "media/t/c/poster.v1.jpg", "mp4.jpg"),
    ],
)
def test_a_variant_is_named_after_its_source(file_name, key, expected):
    assert named_after(file_name, key) == expected
