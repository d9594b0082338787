"""Patterns that texts from outside have to match: of the whole text, for us as for who reads them in OpenAPI."""

import re

_SAYS: dict[str, str] = {}
_BY_PATTERN = re.compile(r"matching regex ('.*'|\".*\")")


def whole(pattern: str, says: str) -> str:
    r"""The pattern of a text that is `pattern` from its first to its last character; `says` is that for people.

    msgspec searches, and to Python `$` is before a newline at the end, too; `\Z` would be none in ECMAScript. So `$`,
    and what cannot follow it there. A choice (`a|b`) stands in brackets.
    """
    return said(rf"^{pattern}$(?!\n)", says)


def said(pattern: str, says: str) -> str:
    """The pattern, as it is; `says` as of `whole`."""
    _SAYS[repr(pattern)] = says
    return pattern


def readable(refusal: str) -> str:
    """What msgspec says of a text that does not match, with the words of the pattern in the pattern's place."""
    found = _BY_PATTERN.search(refusal)
    says = None if found is None else _SAYS.get(found[1])
    return refusal if found is None or says is None else refusal.replace(found[0], f"of {says}")
