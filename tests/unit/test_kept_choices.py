"""A tenant's choice as another release has saved it: what is read of it, and what is left to whoever knows more."""

import pytest

from schemas.kept_choices import read_kept, write_kept
from schemas.profile_sets import OwnProfile, ProfileChoice, check_named, resolve
from schemas.states import MediaKind

HERO = {"name": "hero", "format": "webp", "fit": "width", "width": 1600}


def row(*own, include=("webp",), **more):
    return {"include": list(include), "own": [HERO | change for change in own], **more}


def test_a_choice_of_this_release_is_read_as_it_was_saved():
    choice = ProfileChoice(include=("webp",), own=(OwnProfile(**HERO, focus=(0.2, 0.8)),))
    assert read_kept(write_kept(choice)) == (choice, resolve(choice), ())


def test_fields_and_names_of_another_release_are_passed_over():
    found = read_kept(row({}, include=("webp", "jxl"), renditions=["of-a-later-release"]))
    assert found == read_kept(row({}))
    assert read_kept({"include": ["of-a-later-release"]}).profiles == resolve(ProfileChoice())


def test_a_name_that_has_become_one_of_ours_stays_the_tenants():
    [made] = [profile for profile in read_kept(row({"name": "thumbnail"})).profiles if profile.name == "thumbnail"]
    assert made.width == HERO["width"]


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({"format": "jxl"}, set(MediaKind)),
        ({"watermark": "logo"}, {MediaKind.IMAGE}),
        ({"fit": "cover"}, {MediaKind.IMAGE}),
        ({"width": 8192}, {MediaKind.IMAGE}),
        ({"height": 900}, {MediaKind.IMAGE}),
    ],
)
def test_what_an_own_profile_asks_beyond_this_release_is_told(change, kinds):
    found = read_kept(row(change, {"name": "small"}))
    assert [own.name for own in found.choice.own] == ["small"]
    assert {kind for kind in MediaKind if found.asks_beyond(kind, None)} == kinds
    assert found.asks_beyond(MediaKind.IMAGE, ["small", "hero"])
    assert not found.asks_beyond(MediaKind.IMAGE, ["small", "thumbnail"])
    check_named(found.profiles, MediaKind.IMAGE, ["small", "thumbnail"])
