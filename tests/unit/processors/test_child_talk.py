"""What a child says is read with suspicion: its words may end in rows."""

import pytest
from msgspec import structs

from processors.contract import Cost, MediaError, ProcessingReport, Rendition, StageTiming
from processors.sandbox import wire
from processors.sandbox.handle import Child
from schemas.details import Details
from schemas.errors import ErrorCode
from schemas.events import Part

COST = Cost(cpu_s=1.0, max_rss_mb=2.0)
RENDITION = Rendition("a", 1, "a.webp", "image/webp", "webp", 1, 1, None, 1, "0", (Part("b", "x/y", 1, "0"),))
REPORT = ProcessingReport(kind="image", format="png", width=1, height=1, duration_s=None, cpu_s=1.0, max_rss_mb=2.0)


@pytest.fixture
def talk():
    ours, theirs = wire.pair()
    ours.setblocking(False)  # noqa: FBT003 - its only parameter
    yield Child(1, ours, None), theirs
    ours.close()
    theirs.close()


async def test_what_went_wrong_is_heard(talk):
    child, theirs = talk
    failed = wire.Failed(ErrorCode.CORRUPT, "line one\nline two\n", COST, 1.0, 1.0)
    theirs.send(wire.encode(failed))
    assert await child.receive() == failed


@pytest.mark.parametrize(
    "said",
    [
        b"\x00 no message",
        wire.encode(wire.Failed(ErrorCode.CORRUPT, "a\0b", COST, 1.0, 1.0)),
        wire.encode(wire.Failed(ErrorCode.CORRUPT, "x" * (wire.LONGEST_DETAIL + 1), COST, 1.0, 1.0)),
        wire.encode(
            wire.Failed(ErrorCode.CORRUPT, "", Cost(cpu_s=1, max_rss_mb=1, stages=(StageTiming("a\0", 0, 0),)), 1, 1)
        ),
    ],
    ids=["bytes", "nul", "long", "stage"],
)
async def test_nonsense_is_refused(talk, said):
    child, theirs = talk
    theirs.send(said)
    with pytest.raises(MediaError) as caught:
        await child.receive()
    assert caught.value.code is ErrorCode.PROCESSING_FAILED


async def test_what_was_made_is_heard(talk):
    child, theirs = talk
    for message in (wire.Made(RENDITION), wire.Done(REPORT, 1.0, 1.0)):
        theirs.send(wire.encode(message))
        assert await child.receive() == message


@pytest.mark.parametrize(
    "said",
    [
        *(
            wire.Made(structs.replace(RENDITION, **{name: "a\0"}))
            for name in ("profile", "content_type", "format", "sha256")
        ),
        *(
            wire.Made(structs.replace(RENDITION, parts=(structs.replace(RENDITION.parts[0], **{name: "a\0"}),)))
            for name in ("name", "content_type", "sha256")
        ),
        wire.Done(structs.replace(REPORT, format="a\0"), 1.0, 1.0),
        *(
            wire.Done(structs.replace(REPORT, details=Details(**{name: "a\0"})), 1.0, 1.0)
            for name in ("format", "thumbhash", "dominant_color", "color_space")
        ),
    ],
)
async def test_no_word_that_a_row_does_not_take_is_heard(talk, said):
    child, theirs = talk
    theirs.send(wire.encode(said))
    with pytest.raises(MediaError) as caught:
        await child.receive()
    assert caught.value.code is ErrorCode.PROCESSING_FAILED
