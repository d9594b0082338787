"""The demo's promises: what each variant and each webhook must be, every one a named check."""

from collections.abc import Mapping, Sequence

from cli.client import AssetVariant
from cli.demo.bundles import check_bundle
from cli.demo.verdicts import Checks, expected_size
from cli.harness.measure import Measured, UnreadableError, measure
from cli.harness.receiver import Received, VerificationError
from schemas.profiles import Profile, profiles_for, stages_after
from schemas.states import Stage


def check_variants(checks: Checks, name: str, stage: Stage, variants: Sequence[AssetVariant]) -> None:
    """Every profile of the stage, and of those that follow it, is there once."""
    wanted = sorted(profile.name for profile in _profiles(stage))
    found = sorted(variant.profile for variant in variants)
    checks.that(found == wanted, f"{name}: has the variants {wanted}, found {found}")


async def check_variant(
    checks: Checks, name: str, variant: AssetVariant, files: Mapping[str, bytes], source: Measured
) -> Measured | None:
    """A downloaded variant is of its profile's format and size, decodes, is not black, and is what was announced.

    `files` are itself and then, of one that is several, the others.
    """
    what = f"{name}, {variant.profile}"
    profile = next((each for each in _profiles(_stage(source)) if each.name == variant.profile), None)
    if not checks.that(profile is not None, f"{what}: is a profile of its stages") or profile is None:
        return None
    content = next(iter(files.values()))
    if profile.is_bundle:
        found = await check_bundle(checks, what, profile, variant, files, source)
    else:
        found = await _check_picture(checks, what, profile, content, source)
    if found is None:
        return None
    checks.that(
        (found.width, found.height) == (variant.width, variant.height),
        f"{what}: announced as {variant.width}x{variant.height}, decodes to {found.width}x{found.height}",
    )
    checks.that(len(content) == variant.size, f"{what}: announced {variant.size} bytes, downloaded {len(content)}")
    checks.that(not found.black, f"{what}: is not black, {found.bright:.1%} of its pixels are brighter")
    return found


async def _check_picture(
    checks: Checks, what: str, profile: Profile, content: bytes, source: Measured
) -> Measured | None:
    try:
        found = await measure(content)
    except UnreadableError as error:
        checks.failed(f"{what}: decodes: {error}")
        return None
    width, height = expected_size(profile, source.width, source.height)
    near = abs(found.width - width) <= 1 and abs(found.height - height) <= 1
    checks.that(found.format == profile.format, f"{what}: is {profile.format}, found {found.format}")
    checks.that(near, f"{what}: is {width}x{height} pixels, found {found.width}x{found.height}")
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


def _profiles(stage: Stage) -> list[Profile]:
    return [profile for each in (stage, *stages_after(stage)) for profile in profiles_for(each)]
