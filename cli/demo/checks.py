"""The demo's verdict: every promise is a named check, and what each variant and each webhook must be."""

from collections.abc import Sequence

from cli.client import AssetVariant
from cli.measure import Measured, UnreadableError, measure
from cli.receiver import Received, VerificationError
from schemas.profiles import Profile, profiles_for, stages_after
from schemas.states import Stage


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
    """The size in pixels of a profile's variant of a source of `width` x `height` (upright)."""
    if profile.fit == "crop":
        return profile.width or width, profile.height or height
    scale = profile.width / width if profile.width else (profile.height or height) / height
    scale = min(scale, 1.0)
    return round(width * scale), round(height * scale)


def check_variants(checks: Checks, name: str, stage: Stage, variants: Sequence[AssetVariant]) -> None:
    """Every profile of the stage is there once."""
    wanted = sorted(profile.name for profile in profiles_for(stage))
    found = sorted(variant.profile for variant in variants)
    checks.that(found == wanted, f"{name}: has the variants {wanted}, found {found}")


def check_later(checks: Checks, name: str, stage: Stage, found: Sequence[str]) -> None:
    """Every profile of the stages that follow is there once, too."""
    wanted = sorted(profile.name for after in stages_after(stage) for profile in profiles_for(after))
    checks.that(sorted(found) == wanted, f"{name}: has afterwards {wanted}, found {sorted(found)}")


async def check_variant(
    checks: Checks, name: str, variant: AssetVariant, content: bytes, source: Measured
) -> Measured | None:
    """A downloaded variant is of its profile's format and size, decodes, is not black, and is what was announced."""
    what = f"{name}, {variant.profile}"
    profile = next((each for each in profiles_for(_stage(source)) if each.name == variant.profile), None)
    if not checks.that(profile is not None, f"{what}: is a profile of its stage") or profile is None:
        return None
    try:
        found = await measure(content)
    except UnreadableError as error:
        checks.failed(f"{what}: decodes: {error}")
        return None
    width, height = expected_size(profile, source.width, source.height)
    near = abs(found.width - width) <= 1 and abs(found.height - height) <= 1
    checks.that(found.format == profile.format, f"{what}: is {profile.format}, found {found.format}")
    checks.that(near, f"{what}: is {width}x{height} pixels, found {found.width}x{found.height}")
    checks.that(
        (found.width, found.height) == (variant.width, variant.height),
        f"{what}: announced as {variant.width}x{variant.height}, decodes to {found.width}x{found.height}",
    )
    checks.that(len(content) == variant.size, f"{what}: announced {variant.size} bytes, downloaded {len(content)}")
    checks.that(not found.black, f"{what}: is not black, {found.bright:.1%} of its pixels are brighter")
    if profile.format == "mp4":
        _check_video(checks, what, profile, found, source)
    return found


def check_webhooks(
    checks: Checks, name: str, received: Sequence[Received], expected: Sequence[str], secret: str
) -> int:
    """Every event arrived, each signature holds; returns how many requests were verified."""
    types = sorted({one.message_id: one.event_type for one in received}.values())
    checks.that(types == sorted(expected), f"{name}: webhooks {sorted(expected)}, received {types}")
    verified = 0
    for one in received:
        try:
            one.verify(secret)
        except VerificationError as error:
            checks.failed(f"{name}: {error}")
        else:
            verified += 1
            checks.held += 1
    return verified


def _check_video(checks: Checks, what: str, profile: Profile, found: Measured, source: Measured) -> None:
    wanted = min(source.duration_s, profile.max_seconds or source.duration_s)
    checks.that(abs(found.duration_s - wanted) < 0.25, f"{what}: lasts {wanted:.2f} s, found {found.duration_s:.2f} s")
    sound = profile.audio and source.sound
    checks.that(found.sound == sound, f"{what}: {'has' if sound else 'has no'} sound")


def _stage(source: Measured) -> Stage:
    return Stage.VIDEO_PRIMARY if source.format == "mp4" else Stage.IMAGE_PRIMARY
