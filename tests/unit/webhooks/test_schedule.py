"""When a delivery is tried again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.http.client import Answer, Outcome
from schemas.metrics import WEBHOOK_ATTEMPTS, WEBHOOK_OUTCOMES
from schemas.settings import WebhookSettings
from schemas.states import DeliveryState
from streams.webhooks.schedule import MAX_RETRY_AFTER_S, Schedule

STEADY = Schedule((10, 100), rand=lambda: 0.5)


def answered(status, **more):
    return Answer(outcome=Outcome.ANSWERED, status=status, elapsed_s=0.1, **more)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success_delivers(status):
    assert STEADY.judge(answered(status), 1)[:2] == (DeliveryState.DELIVERED, "delivered")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (answered(500), "rejected"),
        (answered(404), "rejected"),
        (answered(429), "rejected"),
        (answered(302), "redirected"),
        (answered(101), "rejected"),
        (Answer(outcome=Outcome.TIMEOUT, elapsed_s=15), "timeout"),
        (Answer(outcome=Outcome.UNREACHABLE, elapsed_s=0), "unreachable"),
        (Answer(outcome=Outcome.REFUSED, elapsed_s=0), "refused"),
    ],
)
def test_all_else_waits_for_the_next_attempt_until_none_is_left(answer, outcome):
    assert STEADY.judge(answer, 1) == (DeliveryState.WAITING, outcome, 10)
    assert STEADY.judge(answer, 2) == (DeliveryState.WAITING, outcome, 100)
    assert STEADY.judge(answer, 3) == (DeliveryState.DEAD, outcome, None)
    assert STEADY.judge(answer, 9).state is DeliveryState.DEAD  # attempts whose agents died count too
    assert outcome in WEBHOOK_OUTCOMES


def test_what_was_not_sent_is_tried_soon_and_never_the_last_attempt():
    answer = Answer(outcome=Outcome.UNSENT, elapsed_s=0)
    assert STEADY.judge(answer, 1) == STEADY.judge(answer, 99) == (DeliveryState.WAITING, "unsent", 5)
    assert STEADY.judge(answer, 1).unsent


def test_what_our_keys_keep_from_being_tried_waits_a_minute_or_so_for_ever():
    pauses = [Schedule((), rand=lambda r=r: r).unreadable() for r in (0.0, 0.5, 0.999)]
    assert {pause[:2] for pause in pauses} == {(DeliveryState.WAITING, "unreadable")}
    assert [round(pause.pause_s) for pause in pauses] == [48, 60, 72]
    assert "unreadable" in WEBHOOK_OUTCOMES


def test_gone_ends_it_at_once():
    verdict = STEADY.judge(answered(410), 1)
    assert verdict.gone
    assert verdict.state is DeliveryState.DEAD


def test_jitter_stays_within_a_fifth():
    pauses = [Schedule((100,), rand=lambda r=r: r).judge(answered(500), 1).pause_s for r in (0.0, 0.5, 0.999)]
    assert pauses[0] == pytest.approx(80)
    assert pauses[1] == pytest.approx(100)
    assert 119 < pauses[2] < 120


def test_the_default_schedule_spreads_over_three_days():
    pauses = WebhookSettings(encryption_key="x").schedule_s
    assert list(pauses) == sorted(pauses)
    assert 70 * 3600 < sum(pauses) < 80 * 3600


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        ("60", 60),
        ("5", 10),  # never sooner than the schedule
        ("999999999", MAX_RETRY_AFTER_S),
        ("9" * 400, MAX_RETRY_AFTER_S),
        ("-5", 10), ("soon", 10), ("", 10), ("1e9", 10), ("²", 10),
        (" 60\t", 60), ("\x1c60", 10), ("60\x1f", 10),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 10),
        ("Fri, 01 Jan 2100 00:00:00 GMT", MAX_RETRY_AFTER_S),
        ("Wed, 21 Oct 2015 07:28:00 +9999999999999", 10),
    ],
)  # fmt: skip
def test_retry_after_is_bounded(asked, pause):
    assert STEADY.judge(answered(503, retry_after=asked), 1).pause_s == pause


def test_a_date_in_retry_after():
    at = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    assert 500 < STEADY.judge(answered(429, retry_after=at), 1).pause_s <= 600


_DIGITS = st.text("0123456789", min_size=1, max_size=20)
_DATE_LIKE = st.builds(
    "{0} {1} {2} {3}:{4}:{5} {6}{7}".format,
    _DIGITS, st.sampled_from(["Jan", "Feb", "Dec", "X"]), *[_DIGITS] * 4, st.sampled_from("+-"), _DIGITS,
)  # fmt: skip


@given(st.text() | _DATE_LIKE)
def test_whatever_retry_after_says_the_next_attempt_has_its_time(asked):
    assert 10 <= STEADY.judge(answered(503, retry_after=asked), 1).pause_s <= MAX_RETRY_AFTER_S


def test_every_outcome_has_a_series_from_the_start():
    assert {outcome for outcome, _ in WEBHOOK_ATTEMPTS.known} == set(WEBHOOK_OUTCOMES)
