"""What a tenant may choose, what it means, and what is refused when it is saved."""

import msgspec
import pytest

from schemas.profile_sets import OwnProfile, ProfileChoice, ProfileChoiceError, check_named, named, of_stage, resolve
from schemas.profiles import DEFAULT_PROFILES, PROFILE_SETS, stages_after
from schemas.states import MediaKind, Stage


def own(**change):
    return OwnProfile(**({"name": "hero", "format": "webp", "fit": "width", "width": 1600} | change))


def names(choice, *stages):
    return [profile.name for stage in stages for profile in of_stage(resolve(choice), stage)]


def test_the_default_is_all_that_it_says():
    assert resolve(ProfileChoice()) == tuple(sorted(DEFAULT_PROFILES, key=lambda p: list(Stage).index(p.stage)))
    assert names(ProfileChoice(), Stage.IMAGE_PRIMARY) == [
        "thumbnail", "display_small", "display_large", "display_large_jpeg",
    ]  # fmt: skip


def test_sets_and_single_profiles_add_up_and_other_kinds_keep_the_default():
    choice = ProfileChoice(include=("jpeg", "thumbnail", "thumbnail_jpeg"))
    assert set(names(choice, Stage.IMAGE_PRIMARY)) == {
        "thumbnail", "thumbnail_jpeg", "display_small_jpeg", "display_large_jpeg",
    }  # fmt: skip
    assert names(choice, Stage.IMAGE_AVIF) == []
    assert names(choice, Stage.VIDEO_PRIMARY) == names(ProfileChoice(), Stage.VIDEO_PRIMARY)


def test_stages_follow_only_where_there_is_something_to_make():
    assert stages_after(Stage.IMAGE_PRIMARY, resolve(ProfileChoice())) == (Stage.IMAGE_AVIF,)
    assert stages_after(Stage.IMAGE_PRIMARY, resolve(ProfileChoice(include=("webp",)))) == ()
    assert stages_after(Stage.IMAGE_AVIF, resolve(ProfileChoice())) == ()


def test_own_profiles_get_their_stage_and_a_version_that_follows_the_definition():
    choice = ProfileChoice(include=("webp",), own=(own(), own(name="hero_avif", format="avif")))
    made = {profile.name: profile for profile in resolve(choice)}
    assert made["hero"].stage is Stage.IMAGE_PRIMARY
    assert made["hero_avif"].stage is Stage.IMAGE_AVIF
    assert made["hero"].version == resolve(ProfileChoice(own=(own(),)))[4].version
    others = [own(quality=70), own(width=1601), own(target_bytes=50_000), own(focus="centre")]
    versions = {p.version for each in others for p in resolve(ProfileChoice(own=(each,))) if p.name == "hero"}
    assert len(versions | {made["hero"].version}) == 5
    assert all(0 < version < 2**31 for version in versions)


@pytest.mark.parametrize(
    ("change", "version"),
    [
        ({}, 1129295365),
        (
            {"format": "avif", "fit": "crop", "width": 1200, "height": 630, "focus": (0.2, 0.8), "quality": 70,
             "target_bytes": 50_000}, 1171178138,
        ),
        (
            {"name": "loop", "fit": "inside", "width": 480, "height": 480, "focus": "centre", "animated": True},
            1196582927,
        ),
    ],
)  # fmt: skip
def test_versions_stay_what_they_are_in_the_buckets_that_there_are(change, version):
    assert {p.name: p.version for p in resolve(ProfileChoice(own=(own(**change),)))}[own(**change).name] == version


@pytest.mark.parametrize(
    ("choice", "field"),
    [
        (ProfileChoice(include=("nothing",)), "include"),
        (ProfileChoice(own=(own(name="thumbnail"),)), "own[0].name"),
        (ProfileChoice(own=(own(name="webp"),)), "own[0].name"),
        (ProfileChoice(own=(own(), own())), "own[1].name"),
        (ProfileChoice(own=(own(fit="crop"),)), "own[0].height"),
        (ProfileChoice(own=(own(height=9),)), "own[0].height"),
        (ProfileChoice(own=(own(fit="height"),)), "own[0].width"),
        (ProfileChoice(own=(own(animated=True, format="jpeg"),)), "own[0].animated"),
        (ProfileChoice(own=(own(animated=True, fit="crop", height=5),)), "own[0].fit"),
    ],
)
def test_what_cannot_be_kept_is_named(choice, field):
    with pytest.raises(ProfileChoiceError) as caught:
        resolve(choice)
    assert caught.value.field == field


IMAGES = resolve(ProfileChoice(include=("webp", "avif"), own=(own(),)))


@pytest.mark.parametrize("wanted", [["thumbnail"], ["hero"], ["thumbnail", "thumbnail_avif"], ["hero", "hero"]])
def test_an_upload_may_name_what_its_tenant_has_chosen(wanted):
    check_named(IMAGES, MediaKind.IMAGE, wanted)
    assert {profile.name for profile in named(IMAGES, MediaKind.IMAGE, wanted)} == set(wanted)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (["nothing"], "there are thumbnail, display_small, display_large, hero, thumbnail_avif, "),
        (["thumbnail", "thumbnail_jpeg"], "no profile 'thumbnail_jpeg'"),
        (["poster"], "no profile 'poster' for this kind of file"),
        (["thumbnail_avif"], "made first: thumbnail, display_small, display_large, hero."),
    ],
)
def test_what_an_upload_may_not_name_is_told(wanted, told):
    with pytest.raises(ProfileChoiceError, match=told) as caught:
        check_named(IMAGES, MediaKind.IMAGE, wanted)
    assert caught.value.field == "profiles"


def test_an_upload_that_names_nothing_gets_all_of_its_kind():
    assert named(IMAGES, MediaKind.IMAGE, None) == tuple(p for p in IMAGES if p.stage.kind is MediaKind.IMAGE)


def test_names_decide_which_stages_follow():
    assert stages_after(Stage.IMAGE_PRIMARY, named(IMAGES, MediaKind.IMAGE, ["thumbnail"])) == ()
    assert stages_after(Stage.IMAGE_PRIMARY, named(IMAGES, MediaKind.IMAGE, ["hero", "thumbnail_avif"])) == (
        Stage.IMAGE_AVIF,
    )


def test_what_is_offered_no_more_is_passed_over_and_something_is_made_all_the_same():
    later = resolve(ProfileChoice(include=("jpeg", "avif")))
    assert [p.name for p in named(later, MediaKind.IMAGE, ["thumbnail", "thumbnail_jpeg"])] == ["thumbnail_jpeg"]
    assert [p.name for p in named(later, MediaKind.IMAGE, ["hero", "thumbnail_avif"])] == [
        "thumbnail_jpeg", "display_small_jpeg", "display_large_jpeg", "thumbnail_avif",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {"include": "webp"},
        {"own": [{"name": "Hero", "format": "webp", "fit": "width", "width": 9}]},
        {"own": [{"name": "hero", "format": "gif", "fit": "width", "width": 9}]},
        {"own": [{"name": "hero", "format": "webp", "fit": "width", "width": 5000}]},
        {"own": [{"name": "hero", "format": "webp", "fit": "crop", "width": 9, "height": 9, "focus": [2, 0]}]},
        {"own": [{"name": "hero", "format": "webp", "fit": "width", "width": 9, "quality": 0}]},
        {"own": [{"name": "hero", "format": "webp", "fit": "width", "width": 9, "targetBytes": 2**64}]},
        {"own": [{"name": "hero\n", "format": "webp", "fit": "width", "width": 9}]},
        {"own": [{"name": "hero", "format": "webp", "fit": "width", "width": 9, "wide": 1}]},
        {"own": [{"name": f"h{n}", "format": "webp", "fit": "width", "width": 9} for n in range(17)]},
    ],
)
def test_what_is_no_choice_is_refused(body):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, ProfileChoice)


def test_every_choice_survives_being_kept():
    choice = ProfileChoice(include=tuple(PROFILE_SETS), own=(own(focus=(0.2, 0.8), fit="crop", height=9),))
    assert msgspec.convert(msgspec.to_builtins(choice), ProfileChoice) == choice
