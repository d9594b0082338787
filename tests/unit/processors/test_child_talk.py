"""What a child says is read with suspicion: its words may end in rows."""

import math
import os
import subprocess
import time

import pytest
from msgspec import structs

from processors.contract import Cost, MediaError, ProcessingReport, Rendition, StepTiming
from processors.sandbox import limits, wire
from processors.sandbox.handle import Child
from schemas.details import Details
from schemas.errors import ErrorClass, ErrorCode
from schemas.events import Part

COST = Cost(cpu_s=1.0, max_rss_mb=2.0)
SHA = "0" * 64
RENDITION = Rendition("a", 1, "a.webp", "image/webp", "webp", 1, 1, None, 1, SHA, (Part("b", "x/y", 1, SHA),))
REPORT = ProcessingReport(kind="image", format="png", width=1, height=1, duration_s=None, cpu_s=1.0, max_rss_mb=2.0)


@pytest.fixture
def talk():
    ours, theirs = wire.pair()
    ours.setblocking(False)  # noqa: FBT003 - its only parameter
    yield Child(1, ours, None), theirs
    ours.close()
    theirs.close()


@pytest.fixture
def refused(talk):
    """Have the child say something that is no message of one; returns what is raised for it."""
    child, theirs = talk

    async def run(said):
        theirs.send(said)
        with pytest.raises(MediaError) as caught:
            await child.receive()
        assert caught.value.code is ErrorCode.PROCESSING_FAILED
        return caught.value

    return run


async def test_what_went_wrong_is_heard(talk):
    child, theirs = talk
    failed = wire.Failed(ErrorCode.CORRUPT, "line one\nline two\n", COST, 1.0)
    theirs.send(wire.encode(failed))
    assert await child.receive() == failed


@pytest.mark.parametrize(
    "said",
    [
        b"\x00 no message",
        b"\x81\xa4type\xa6" + b"\xff" * 6,
        b"\x82\xa1x" + b"\x91" * 100_000 + b"\x01\xa4type\xa6Failed",
        wire.encode(wire.Failed(ErrorCode.CORRUPT, "a\0b", COST, 1.0)),
        wire.encode(wire.Failed(ErrorCode.CORRUPT, "x" * (wire.LONGEST_DETAIL + 1), COST, 1.0)),
        wire.encode(
            wire.Failed(ErrorCode.CORRUPT, "", Cost(cpu_s=1, max_rss_mb=1, steps=(StepTiming("sniff\0", 0, 0),)), 1)
        ),
    ],
    ids=["bytes", "no text", "deep", "nul", "long", "stage"],
)
async def test_nonsense_is_refused(refused, said):
    await refused(said)


async def test_what_was_made_is_heard(talk):
    child, theirs = talk
    for message in (wire.Made(RENDITION), wire.Done(REPORT, 1.0)):
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
        wire.Done(structs.replace(REPORT, format="a\0"), 1.0),
        *(
            wire.Done(structs.replace(REPORT, details=Details(**{name: "a\0"})), 1.0)
            for name in ("format", "thumbhash", "dominant_color", "color_space")
        ),
    ],
)
async def test_no_word_that_a_row_does_not_take_is_heard(refused, said):
    await refused(wire.encode(said))


def done(**lies):
    return wire.Done(structs.replace(REPORT, **lies), 1.0)


def step(name="sniff", began=0.0, seconds=0.0):
    return done(steps=(StepTiming(name, began, seconds),))


@pytest.mark.parametrize(
    "said",
    [
        *(done(**{name: lie}) for name in ("cpu_s", "max_rss_mb", "duration_s") for lie in (math.nan, math.inf, -1.0)),
        *(step(began=lie) for lie in (math.nan, math.inf, -1.0, 1e300)),
        *(step(seconds=lie) for lie in (math.nan, math.inf, -1.0, 1e300)),
        *(step(name) for name in ("hacked", "sniff\n", "", "sniff|decode")),
        done(steps=(StepTiming("sniff", 0.0, 0.0),) * 1000),
        *(done(**{name: lie}) for name in ("width", "height") for lie in (-1, 1 << 40)),
        *(
            done(details=Details(**{name: lie}))
            for name in ("orientation", "bit_depth", "frames", "channels")
            for lie in (-1, 0, 10**15, 2**64 - 1)
        ),
        *(done(details=Details(fps=lie)) for lie in (math.nan, math.inf, -1.0, 0.0)),
        done(format="x" * 65),
        *(wire.Done(REPORT, lie) for lie in (math.nan, math.inf, -1.0)),
        *(wire.Progressed(lie) for lie in (math.nan, -0.1, 1.1)),
        *(wire.Probed(lie) for lie in (math.nan, math.inf, -1.0)),
        *(
            wire.Made(structs.replace(RENDITION, **lie))
            for lie in ({"duration_s": 1e300}, {"duration_s": math.nan}, {"width": -1}, {"size": -1}, {"sha256": "0"})
        ),
    ],
)
async def test_nothing_that_no_job_can_be_is_heard(refused, said):
    """A NaN for a cost would end the worker, and a debt of a million seconds take a lane for its tenant."""
    error = await refused(wire.encode(said))
    assert error.error_class is ErrorClass.TRANSIENT, "it costs an attempt"


@pytest.mark.parametrize(
    "code",
    [ErrorCode.OBJECT_STORE_UNAVAILABLE, ErrorCode.BROKER_UNAVAILABLE, ErrorCode.NO_TEMP_SPACE, ErrorCode.NOT_FOUND],
)
async def test_a_child_fails_for_no_reason_that_is_not_its_own(refused, code):
    """Such a job would cost no attempt, and be claimed again for ever."""
    said = wire.encode(wire.Failed(ErrorCode.CORRUPT, "", COST, 1.0))
    await refused(said.replace(b"\xa7corrupt", bytes([0xA0 | len(code)]) + code.encode()))


def test_the_kernel_tells_what_a_process_and_its_children_took():
    before = limits.cpu_s_of(os.getpid())
    began = time.process_time()
    while time.process_time() < began + 0.05:
        pass
    own = limits.cpu_s_of(os.getpid())
    subprocess.run(["sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"], check=True)
    with_child = limits.cpu_s_of(os.getpid())
    assert 0.05 <= own - before < 1
    assert with_child - own > 0.02
    with subprocess.Popen(["true"]) as gone:
        pass
    assert limits.cpu_s_of(gone.pid) is None
