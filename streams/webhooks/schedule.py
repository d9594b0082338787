"""When a delivery is tried again, and what an answer means for it."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from connectors.http.client import Answer, Outcome
from schemas.metrics import WEBHOOK_UNSENT
from schemas.states import DeliveryState

# A receiver may ask for a longer pause than the schedule's, but not put a delivery off for ever.
MAX_RETRY_AFTER_S = 3600.0
_JITTER = 0.2
_UNSENT_PAUSE_S = 5.0
# It goes on soon after the key is back; a glance at each delivery is not nothing, either.
_UNREADABLE_PAUSE_S = 60.0


class Verdict(NamedTuple):
    """What becomes of a delivery; `outcome` is the word in metrics and in the attempt's row."""

    state: DeliveryState
    outcome: str
    pause_s: float | None = None

    @property
    def unsent(self) -> bool:
        """Nothing was sent, for a lack of our own: it does not count."""
        return self.outcome in WEBHOOK_UNSENT

    @property
    def gone(self) -> bool:
        """The receiver wants nothing any more: its endpoint is to be disabled."""
        return self.outcome == "gone"


class Schedule:
    """The pauses before each further attempt, seconds; after the last one a delivery is dead."""

    def __init__(self, pauses_s: tuple[float, ...], *, rand: Callable[[], float] = random.random) -> None:
        self._pauses_s = pauses_s
        self._rand = rand

    def judge(self, answer: Answer, attempt: int) -> Verdict:
        """What attempt number `attempt` (from 1) means: 2xx delivers, 410 ends it, all else is tried again.

        They are counted from when the delivery was last sent again, which has the whole schedule before it, as a new
        one has: what keeps its receiver may last. One that was not sent costs the delivery no attempt.
        """
        outcome = outcome_of(answer)
        if outcome == "delivered":
            return Verdict(DeliveryState.DELIVERED, outcome)
        if outcome == "unsent":
            return Verdict(DeliveryState.WAITING, outcome, self._jittered(_UNSENT_PAUSE_S))
        if outcome == "gone" or attempt > len(self._pauses_s):
            return Verdict(DeliveryState.DEAD, outcome)
        asked = _retry_after_s(answer.retry_after)
        return Verdict(DeliveryState.WAITING, outcome, max(self._pause_s(attempt), min(asked, MAX_RETRY_AFTER_S)))

    def unreadable(self) -> Verdict:
        """What becomes of a delivery that our own keys keep from being tried: it waits, however often."""
        return Verdict(DeliveryState.WAITING, "unreadable", self._jittered(_UNREADABLE_PAUSE_S))

    def _pause_s(self, attempt: int) -> float:
        return self._jittered(self._pauses_s[attempt - 1])

    def _jittered(self, pause_s: float) -> float:
        # Both ways, so that what failed together does not come back together.
        return pause_s * (1 - _JITTER + 2 * _JITTER * self._rand())


def outcome_of(answer: Answer) -> str:
    """One of `schemas.metrics.WEBHOOK_OUTCOMES`."""
    if answer.outcome is not Outcome.ANSWERED or answer.status is None:
        return answer.outcome.value
    match answer.status:
        case status if 200 <= status < 300:
            return "delivered"
        case status if 300 <= status < 400:
            return "redirected"
        case 410:
            return "gone"
        case _:
            return "rejected"


def _retry_after_s(value: str | None) -> float:
    """Seconds that a Retry-After header asks for (seconds or a date); 0 for none or nonsense."""
    if value is None:
        return 0.0
    text = value.strip(" \t")  # nothing else: what Python takes for white space, float() may not
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter of a year or an offset with too many digits
        return 0.0
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
