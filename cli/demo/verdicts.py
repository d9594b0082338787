"""What the demo's checks share: a verdict that counts, and the size that a variant must have."""

from schemas.profiles import Profile


class Checks:
    """Counts what held and remembers what did not."""

    def __init__(self) -> None:
        self.held = 0
        self.failures: list[str] = []

    def failed(self, claim: str) -> None:
        """Note a claim that did not hold."""
        self.failures.append(claim)

    def that(self, holds: bool, claim: str) -> bool:
        """Note whether a claim held; the claim says what should have been, and what was."""
        if holds:
            self.held += 1
        else:
            self.failures.append(claim)
        return holds


def expected_size(profile: Profile, width: int, height: int) -> tuple[int, int]:
    """The size in pixels of a profile's variant of a source of `width` x `height` (upright), or its best rung's."""
    if profile.fit == "crop":
        return profile.width or width, profile.height or height
    if profile.rungs:
        short = min(width, height)
        scale = next((rung.side for rung in profile.rungs if rung.side <= short), profile.rungs[-1].side) / short
    else:
        scale = profile.width / width if profile.width else (profile.height or height) / height
    scale = min(scale, 1.0)
    return round(width * scale), round(height * scale)
