"""What guards texts from outside lets no newline end one, where none may be in it: every pattern that is published, which
are those that requests are held to.
"""

import json
import re
from typing import Annotated

import msgspec
import pytest

from api.assets.query import MAX_WAIT_S, seconds
from api.document.offline import FILE
from schemas.errors import ErrorCode, MedialaneError
from schemas.generate import FOLDER
from schemas.patterns import readable


def patterns_in(node):
    if isinstance(node, dict):
        yield from (text for name, text in node.items() if name == "pattern" and isinstance(text, str))
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from patterns_in(child)


PUBLISHED = sorted(set(patterns_in(json.loads((FOLDER / FILE).read_text(encoding="utf-8")))))


# Of answers, which nobody is refused, and of lists' entries, which `api.assets.query` looks at itself.
UNTESTED = {pattern for pattern in PUBLISHED if "\0" in pattern or "x00" in pattern}

TEXTS = ("hero", "5s", "1,22", "name:value", "0" * 64)


@pytest.mark.parametrize("pattern", PUBLISHED)
def test_no_pattern_lets_a_newline_follow_what_it_takes(pattern):
    taken = re.compile(pattern).search
    texts = [text for text in TEXTS if taken(text)]
    assert texts, "name a text that it takes"
    for text in texts:
        lines_are_text = taken(f"{text}\n.")
        assert lines_are_text or not taken(f"{text}\n")
    assert not re.search(r"\\[AZz]", pattern), "ECMAScript has none of these"


@pytest.mark.parametrize("pattern", [pattern for pattern in PUBLISHED if pattern not in UNTESTED])
def test_a_refusal_says_in_words_what_a_pattern_takes(pattern):
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert("\0", Annotated[str, msgspec.Meta(pattern=pattern)])
    assert "regex" in str(caught.value)
    assert "regex" not in readable(str(caught.value))


def test_what_is_no_pattern_of_ours_is_said_as_it_came():
    assert readable("Expected `int` >= 1") == "Expected `int` >= 1"
    assert readable("Expected `str` matching regex '^x'") == "Expected `str` matching regex '^x'"


@pytest.mark.parametrize(("wait", "found"), [("5s", 5), ("5", 5), ("0.25s", 0.25), ("99s", MAX_WAIT_S)])
def test_a_wait_is_read(wait, found):
    assert seconds(wait) == found


@pytest.mark.parametrize("wait", ["5s\n", "5\n", "", "s", "٣s", "1e1", "100s", "-1s", "1.s"])
def test_what_is_no_wait_is_refused(wait):
    with pytest.raises(MedialaneError) as caught:
        seconds(wait)
    assert (caught.value.code, caught.value.field) == (ErrorCode.INVALID_REQUEST, "wait")
