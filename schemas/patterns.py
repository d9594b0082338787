"""Patterns that texts from outside have to match: of the whole text, for us as for who reads them in OpenAPI."""


def whole(pattern: str) -> str:
    r"""The pattern of a text that is `pattern` from its first to its last character.

    msgspec searches, and to Python `$` is before a newline at the end, too; `\Z` would be none in ECMAScript. So `$`,
    and what cannot follow it there. A choice (`a|b`) stands in brackets.
    """
    return rf"^{pattern}$(?!\n)"
