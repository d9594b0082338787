"""Finished work waits for what is away, for as long as it is told to, and for nothing else."""

import pytest

from schemas.errors import ErrorCode, MedialaneError
from streams.media.patience import until_back
from streams.pauses import backoff

AWAY = ErrorCode.OBJECT_STORE_UNAVAILABLE


class Taker:
    """Raises these errors, one a call, and then takes what it is given."""

    def __init__(self, *errors):
        self.errors = list(errors)

    async def take(self):
        if self.errors:
            raise self.errors.pop(0)
        return "taken"


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    monkeypatch.setattr("streams.media.patience._PAUSE_S", 0.001)


async def test_what_is_away_is_waited_for():
    told = []
    taker = Taker(MedialaneError(AWAY), MedialaneError(AWAY))
    assert await until_back(taker.take, AWAY, on_outage=told.append) == "taken"
    assert [error.code for error in told] == [AWAY], "once: what one file waits for may be there for others"


@pytest.mark.parametrize("error", [MedialaneError(ErrorCode.SOURCE_MISSING), ValueError("a defect")])
async def test_nothing_else_is(error):
    taker = Taker(error)
    with pytest.raises(type(error)):
        await until_back(taker.take, AWAY)
    assert taker.errors == []


async def test_patience_ends():
    taker = Taker(*[MedialaneError(AWAY)] * 1000)
    with pytest.raises(MedialaneError):
        await until_back(taker.take, AWAY, patience_s=0.0)
    assert len(taker.errors) >= 998


@pytest.mark.parametrize(("attempts", "longest"), [(0, 2.0), (1, 4.0), (4, 32.0), (9, 300.0), (1000, 300.0)])
def test_pauses_double_up_to_the_cap_and_are_spread(attempts, longest):
    pauses = [backoff(attempts, base_s=2.0, cap_s=300.0) for _ in range(200)]
    assert longest / 2 <= min(pauses) < longest * 0.6
    assert longest * 0.9 < max(pauses) <= longest
