"""What a rule says: the kind of what is wrong, and a sentence."""

from typing import NamedTuple

LOST, DOUBLE, WRONG = "lost", "double", "wrong"


class Violation(NamedTuple):
    kind: str
    what: str
