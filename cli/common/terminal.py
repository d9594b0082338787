"""What strangers said, as a terminal may show it."""


def one_line(text: str) -> str:
    """Its beginning on one line, and nothing that a terminal would obey."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:200])
