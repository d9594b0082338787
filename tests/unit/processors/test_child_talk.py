"""What a child says is read with suspicion: its words may end in rows."""

import pytest

from processors.contract import Cost, MediaError, StageTiming
from processors.sandbox import wire
from processors.sandbox.handle import Child
from schemas.errors import ErrorCode

COST = Cost(cpu_s=1.0, max_rss_mb=2.0)


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
