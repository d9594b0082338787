"""What goes into a child's cell, and that nothing but plain files in their places comes out."""

import errno
import os
from pathlib import Path

import pytest

from processors.contract import MediaError, Rendition, Source
from processors.job import place_of
from processors.sandbox import cell as cells
from processors.sandbox.cell import Cell
from schemas.errors import ErrorCode
from schemas.events import Part
from schemas.profiles import CATALOGUE

PHOTO = CATALOGUE["thumbnail"]
LADDER = CATALOGUE["hls"]


@pytest.fixture
def cell(tmp_path):
    return Cell(tmp_path)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "job"
    made.mkdir()
    return made


@pytest.fixture
def secret(tmp_path):
    made = tmp_path / "secret"
    made.write_text("another tenant's")
    return made


def rendition(profile, path, *parts):
    return Rendition(
        profile=profile.name, profile_version=1, path=str(path), content_type="x/y", format="f", width=1, height=1,
        duration_s=None, size=1, sha256="0", parts=tuple(Part(name, "x/y", 1, "0") for name in parts),
    )  # fmt: skip


def made_in(cell, profile, *parts):
    path = place_of(profile, cell.path)
    path.parent.mkdir(exist_ok=True)
    for file in (path, *(path.parent / name for name in parts)):
        file.write_text(file.name)
    return rendition(profile, path, *parts)


def other_disk(*_):
    raise OSError(errno.EXDEV, "another disk")


def test_a_source_comes_in_as_the_same_file_and_stays_where_it_was(cell, folder):
    (folder / "source").write_text("pixels")
    source = Source(str(folder / "source"), 6, "image/jpeg", "a.jpg")
    inside = cell.bring_in(source)
    assert Path(inside.path).samefile(source.path)
    assert (inside.size, inside.file_name) == (6, "a.jpg")
    assert cell.clear()
    assert list(cell.path.iterdir()) == []
    assert (folder / "source").read_text() == "pixels"


def test_a_cell_that_holds_too_much_says_so_and_goes(cell):
    at = cell.path
    for number in range(1100):
        (at / str(number)).touch()
    assert not cell.clear()
    cell.close()
    cell.close()
    assert not at.exists()


def test_a_cell_that_cannot_even_be_looked_into_says_so(cell):
    cell.path.rmdir()
    assert not cell.clear()


def test_a_source_on_another_disk_is_copied(cell, folder, monkeypatch):
    monkeypatch.setattr(cells.os, "link", other_disk)
    (folder / "source").write_text("pixels")
    inside = cell.bring_in(Source(str(folder / "source"), 6, "", ""))
    assert (cell.path / "source.bin").read_text() == "pixels"
    assert not Path(inside.path).samefile(folder / "source")


@pytest.mark.parametrize("same_disk", [True, False])
def test_a_link_in_the_sources_place_is_not_written_through(cell, folder, secret, monkeypatch, same_disk):
    """A child that was taken over in an earlier job may put one there at any time."""
    if not same_disk:
        monkeypatch.setattr(cells.os, "link", other_disk)
    (folder / "source").write_text("pixels")
    (cell.path / "source.bin").symlink_to(secret)
    with pytest.raises(MediaError) as caught:
        cell.bring_in(Source(str(folder / "source"), 6, "", ""))
    assert caught.value.code is ErrorCode.PROCESSING_FAILED
    assert secret.read_text() == "another tenant's"


@pytest.mark.parametrize("trick", [None, "file", "folder"])
def test_what_is_copied_from_a_cell_on_another_disk_is_no_link_either(cell, folder, secret, monkeypatch, trick):
    """It could become one between the look and the copy: nothing is read through it even then."""
    made = made_in(cell, LADDER, "v720.mp4")
    if trick == "file":
        (cell.path / "hls/v720.mp4").unlink()
        (cell.path / "hls/v720.mp4").symlink_to(secret)
    elif trick == "folder":
        (cell.path / "hls").rename(secret.parent / "hls")
        (cell.path / "hls").symlink_to(secret.parent / "hls")
    monkeypatch.setattr(cells.Path, "rename", other_disk)
    if trick is None:
        cell.take_out(made, LADDER, folder)
        assert (folder / "hls/v720.mp4").read_text() == "v720.mp4"
        assert list(cell.path.iterdir()) == []
    else:
        with pytest.raises(MediaError):
            cell.take_out(made, LADDER, folder)
        assert not (folder / "hls/v720.mp4").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads another user's file")
def test_another_users_source_comes_in_as_a_copy_of_ours(cell, folder):
    (folder / "source").write_text("pixels")
    (folder / "source").chmod(0o600)
    os.chown(folder / "source", 65_534, 65_534)
    inside = Path(cell.bring_in(Source(str(folder / "source"), 6, "", "")).path)
    assert (inside.read_text(), inside.stat().st_uid) == ("pixels", os.geteuid())
    assert (folder / "source").stat().st_uid == 65_534


def test_a_source_that_is_not_there_is_a_typed_failure(cell, folder):
    with pytest.raises(MediaError):
        cell.bring_in(Source(str(folder / "none"), 1, "", ""))


@pytest.mark.parametrize(("profile", "parts"), [(PHOTO, ()), (LADDER, ("v720.mp4", "v720.m3u8"))])
def test_what_was_made_moves_out_of_the_childs_reach(cell, folder, profile, parts):
    for _ in range(2):  # a second attempt in the same folder takes the first one's place
        moved = cell.take_out(made_in(cell, profile, *parts), profile, folder)
        assert moved.path == str(place_of(profile, folder))
        assert [place_of(profile, folder).with_name(name).read_text() for name in parts] == list(parts)
        assert list(cell.path.iterdir()) == []


@pytest.mark.parametrize("place", ["..", "../secret", "../job", "thumbnail.webp/..", "/etc/passwd", "other.webp", ""])
def test_a_file_in_another_place_is_refused_and_nothing_is_touched(cell, folder, secret, place):
    made_in(cell, PHOTO)
    before = sorted(path.name for path in folder.parent.iterdir())
    with pytest.raises(MediaError) as caught:
        cell.take_out(rendition(PHOTO, f"{cell.path}/{place}"), PHOTO, folder)
    assert caught.value.code is ErrorCode.PROCESSING_FAILED
    assert sorted(path.name for path in folder.parent.iterdir()) == before
    assert secret.read_text() == "another tenant's"


@pytest.mark.parametrize("trick", ["symbolic link", "hard link", "folder", "pipe", "nothing"])
def test_what_is_no_plain_file_is_refused(cell, folder, secret, trick):
    path = place_of(PHOTO, cell.path)
    match trick:
        case "symbolic link":
            path.symlink_to(secret)
        case "hard link":
            path.hardlink_to(secret)
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
    with pytest.raises(MediaError):
        cell.take_out(rendition(PHOTO, path), PHOTO, folder)
    assert secret.read_text() == "another tenant's"


def test_a_bundle_that_is_a_link_or_holds_one_is_refused(cell, folder, secret):
    made = made_in(cell, LADDER, "v720.mp4")
    (cell.path / "hls/v720.mp4").unlink()
    (cell.path / "hls/v720.mp4").symlink_to(secret)
    with pytest.raises(MediaError):
        cell.take_out(made, LADDER, folder)
    cell.clear()
    with pytest.raises(MediaError):
        cell.take_out(made_in(cell, LADDER, "../secret"), LADDER, folder)
    cell.clear()
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (cell.path / "hls").symlink_to(elsewhere)
    with pytest.raises(MediaError):
        cell.take_out(rendition(LADDER, place_of(LADDER, cell.path)), LADDER, folder)
    cell.clear()
    assert elsewhere.is_dir()
    assert secret.exists()
