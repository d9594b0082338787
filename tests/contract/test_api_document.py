"""docs/api.md against the code: what its readers take for complete."""

import json
import re
from pathlib import Path

import msgspec

from cli import client
from schemas.errors import ERRORS, OF_THE_CONTENT, ErrorClass, ErrorCode
from schemas.profile_sets import MOST_OWN, ProfileChoice, resolve
from schemas.profiles import CATALOGUE, PROFILE_SETS, Profile
from schemas.settings import ProcessorSettings, WebhookSettings

TEXT = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text(encoding="utf-8")


FORMATS = {
    "webp": "WebP", "jpeg": "JPEG", "avif": "AVIF", "mp4": "MP4", "storyboard": "WebVTT", "hls": "HLS",
    "m4a": "AAC in M4A", "png": "PNG", "json": "JSON",
}  # fmt: skip


def table(heading: str) -> list[str]:
    line = "|---" * (heading.count("|") - 1)
    return TEXT.partition(f"{heading}\n{line}|\n")[2].partition("\n\n")[0].splitlines()


def again(code: ErrorCode) -> str:
    attempts = ERRORS[code].video_attempts
    tried = f"; a video or sound is tried {attempts} times" if attempts else ""
    return "yes" if code in OF_THE_CONTENT else f"perhaps not{tried}"


def test_the_table_of_codes_has_every_code_that_a_job_may_end_with() -> None:
    """Who meets a refusal is answered it, what waits for a dependency does not end, and a record is no job."""
    ends = [
        code
        for code, spec in ERRORS.items()
        if spec.error_class in {ErrorClass.PERMANENT, ErrorClass.TRANSIENT} and code is not ErrorCode.UNDECODABLE_RECORD
    ]
    assert table("| code | means | again |") == [
        f"| `{code}` | {ERRORS[code].meaning} | {again(code)} |" for code in ends
    ]


def test_the_limits_are_those_of_the_settings() -> None:
    limits = ProcessorSettings()
    told = [re.sub(r"^\| [^|]*\| (.*) \|$", r"\1", row) for row in table("| of | at most | or else |")]
    assert told[:3] == [
        f"{limits.max_image_bytes >> 20} MiB | `too_large`",
        f"{limits.max_image_pixels // 1_000_000} megapixels, {limits.max_image_side:,} pixels a side | `too_many_pixels`",
        f"{limits.max_frames} frames | `too_many_frames`",
    ]
    size, length = f"{limits.max_video_bytes >> 30} GiB", f"{limits.max_video_seconds / 3600:g} hours"
    assert told[3:6] == [
        f"{size} | `too_large`", f"{length} | `too_long`", f"{limits.max_video_side:,} pixels a side | `too_many_pixels`",
    ]  # fmt: skip
    hours = limits.max_video_work_s / 3600
    assert told[6].startswith(f"as many pixels as {hours:g} hours of 1080p30")
    assert told[-1] == f"{size}; {length} | `too_large`; `too_long`"


def test_what_receivers_are_told_of_deliveries_is_as_set() -> None:
    settings = WebhookSettings(encryption_key="unused")
    assert f"up to {settings.in_flight_per_endpoint} are under way" in TEXT
    assert f"within {settings.timeout_s:g} seconds (`MEDIALANE_WEBHOOK_TIMEOUT_S`)" in TEXT
    assert f"({sum(settings.schedule_s) // 3600:.0f} h in all)" in TEXT


def size(profile: Profile) -> str:
    if profile.rungs:
        return ", ".join(f"{rung.side}p" for rung in profile.rungs)
    if profile.fit == "crop":
        return f"{profile.width} x {profile.height}"
    if profile.width is None:
        return f"{profile.height} high" if profile.height else ""
    return f"{profile.width} points" if profile.format == "json" else f"{profile.width} wide"


def test_every_profile_is_told_as_it_is_made() -> None:
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in table("| profile | what | size | format | stage |")
    ]
    assert all(what for _, what, *_ in rows)
    assert [(name, side.removesuffix(", each"), made, stage) for name, _, side, made, stage in rows] == [
        (f"`{each.name}`", size(each), FORMATS[each.format], f"`{each.stage}`") for each in CATALOGUE.values()
    ]


def test_every_set_is_told_with_what_it_has() -> None:
    told = {}
    for row in table("| set | has |"):
        name, *members = re.findall(r"`(\w+)`", row)
        told[name] = [each for member in members for each in PROFILE_SETS.get(member, (CATALOGUE.get(member),))]
    assert told == {name: list(profiles) for name, profiles in PROFILE_SETS.items()}


def test_the_choice_that_is_shown_can_be_kept_and_what_it_leaves_out_stays() -> None:
    [shown] = [block for block in re.findall(r"(?s)```json\n(.*?)```", TEXT) if '"include"' in block]
    made = resolve(msgspec.convert(json.loads(shown), ProfileChoice))
    assert [each.name for each in made if each.stage.kind == "image"] == [
        "thumbnail", "display_small", "display_large", "hero",
    ]  # fmt: skip
    default = {each for each in PROFILE_SETS["default"] if each.stage.kind != "image"}
    assert {each for each in made if each.stage.kind != "image"} == default
    assert set(resolve(ProfileChoice(include=("avif",)))) == set(PROFILE_SETS["default"])
    assert {each for each in resolve(ProfileChoice(include=("jpeg",))) if each.stage.kind == "image"} == set(
        PROFILE_SETS["jpeg"]
    )
    assert f"may have {MOST_OWN} of its own" in TEXT


def test_every_error_of_the_python_client_is_told() -> None:
    section = TEXT.partition("## From Python\n")[2].partition("\n## ")[0]
    errors = {name for name in client.__all__ if name.endswith("Error")}
    assert set(re.findall(r"`(\w+Error)`", section)) == errors
