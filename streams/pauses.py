"""How long to wait before another try: spread, so that not all who wait come back at once."""

import random

_DOUBLINGS = 64  # more make no difference to any cap, and at some thousand a number that is too large


def backoff(failed_before: int, *, base_s: float, cap_s: float) -> float:
    """The pause after a failure that so many others came before: doubles from `base_s`, up to the cap."""
    return jitter(min(base_s * 2.0 ** min(failed_before, _DOUBLINGS), cap_s))


def jitter(seconds: float) -> float:
    """A pause of about so many seconds: half of them at least."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
