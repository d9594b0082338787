"""What a child says it made: everything that follows from what was asked is not taken from its words."""

import os

import pytest
from msgspec import structs

from processors.contract import MediaError, ProcessingReport, Rendition, Source
from processors.conversation import Conversation
from processors.job import place_of
from processors.sandbox import limits, wire
from processors.sandbox.cell import Cell
from processors.sandbox.handle import Child
from schemas.errors import ErrorCode
from schemas.events import Part
from schemas.profiles import CATALOGUE
from schemas.states import Stage

PHOTO, LADDER, STORYBOARD = (CATALOGUE[name] for name in ("thumbnail", "hls", "storyboard"))
SHA = "0" * 64
END = wire.Done(ProcessingReport(max_rss_mb=1, kind="image", format="png", width=1, height=1, duration_s=None), 1.0)


class Scripted:
    """A child that says what it was told to."""

    def __init__(self, cell, *messages):
        self.cell = cell
        self._messages = list(messages)

    def begin(self):
        pass

    async def send(self, task):
        self.task = task

    async def receive(self):
        return self._messages.pop(0)


@pytest.fixture
def heard(tmp_path):
    """The renditions that come of what a child says that it made, of these profiles."""
    cell, folder = Cell(tmp_path), tmp_path / "job"
    folder.mkdir()
    (folder / "source").write_text("pixels")

    async def run(profiles, *made):
        for each in made:
            place = place_of(CATALOGUE[each.profile], cell.path)
            place.parent.mkdir(exist_ok=True)
            for file in (place, *(place.parent / part.name for part in each.parts)):
                file.write_text("x" * 7)
        says = [structs.replace(each, path=str(place_of(CATALOGUE[each.profile], cell.path))) for each in made]
        task = wire.Task(Stage.IMAGE_PRIMARY, Source(str(folder / "source"), 6, "", ""), profiles)
        child = Scripted(cell, *map(wire.Made, says), END)
        talk = Conversation(child, task, folder, None, None)
        await talk.hold(lambda _: None)
        return talk.renditions

    return run


def said(profile, *parts, **more):
    made = Rendition(
        profile=profile.name, profile_version=99, path="", content_type="text/html", format="html", width=1, height=1,
        duration_s=None, size=1 << 40, sha256=SHA, parts=tuple(Part(name, "text/html", 1 << 40, SHA) for name in parts),
    )  # fmt: skip
    return structs.replace(made, **more)


async def test_type_format_version_and_size_are_not_the_childs_to_say(heard):
    (made,) = await heard((PHOTO,), said(PHOTO))
    assert (made.content_type, made.format, made.profile_version, made.size) == ("image/webp", "webp", PHOTO.version, 7)


async def test_the_parts_of_a_bundle_are_of_their_types_and_sizes(heard):
    names = ["720p.mp4", "audio.mp4", "720p.m3u8", "audio.m3u8"]
    made, board = await heard((LADDER, STORYBOARD), said(LADDER, *names), said(STORYBOARD, "storyboard.jpg"))
    playlist = "application/vnd.apple.mpegurl"
    assert [(part.name, part.content_type, part.size) for part in made.parts] == list(
        zip(names, ["video/mp4", "audio/mp4", playlist, playlist], [7] * 4, strict=True)
    )
    assert [part.content_type for part in board.parts] == ["image/jpeg"]


@pytest.mark.parametrize(
    "made",
    [
        [said(PHOTO), said(PHOTO, profile_version=2)],
        [said(LADDER)],
        [said(PHOTO, "720p.mp4")],
    ],
    ids=["again", "not asked for", "parts of a picture"],
)
async def test_what_was_not_asked_for_is_refused(heard, made):
    with pytest.raises(MediaError) as caught:
        await heard((PHOTO,), *made)
    assert caught.value.code is ErrorCode.PROCESSING_FAILED


@pytest.mark.parametrize(
    "names", [["page.html"], ["720p.mp4\n"], ["hls.m3u8"], ["720p.mp4", "720p.mp4"], ["storyboard.jpg"]]
)
async def test_no_other_files_come_with_a_bundle(heard, names):
    with pytest.raises(MediaError):
        await heard((LADDER,), said(LADDER, *names))


async def test_a_checksum_of_a_part_is_one(heard):
    with pytest.raises(MediaError):
        await heard((LADDER,), said(LADDER, parts=(Part("720p.mp4", "video/mp4", 1, "no checksum"),)))


async def test_a_job_that_fails_before_it_is_sent_does_not_pay_for_the_one_before(tmp_path):
    ours, theirs = wire.pair()
    cell = Cell(tmp_path)
    with ours, theirs:
        child = Child(1, ours, cell)
        child.pid = os.getpid()  # it has worked before
        (tmp_path / "source").write_text("pixels")
        task = wire.Task(Stage.IMAGE_PRIMARY, Source(str(tmp_path / "source"), 6, "", ""), (PHOTO,))
        cell.bring_in(task.source)  # the child left something in its place
        with pytest.raises(MediaError):
            await Conversation(child, task, tmp_path, None, None).hold(lambda _: None)
        life_s = limits.cpu_s_of(child.pid)
        child.died(9, life_s)
    assert child.unpaid.cpu_s < life_s / 2
