"""The watermark against a model that remembers every offset and what became of it."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from streams.core.watermark import Watermark


class Model(RuleBasedStateMachine):
    """Offsets grow with gaps, step back now and then, and are settled in any order, twice, or from an older run."""

    tickets = Bundle("tickets")

    def __init__(self):
        super().__init__()
        self.watermark = Watermark()
        self.outcomes: dict[int, bool] = {}  # offsets of this run: durable or not
        self.run = 0
        self.last = None

    @rule(target=tickets, gap=st.integers(1, 5))
    def open_next(self, gap):
        offset = (-1 if self.last is None else self.last) + gap
        self.last = offset
        self.outcomes[offset] = False
        return self.run, self.watermark.open(offset)

    @rule(target=tickets, back=st.integers(0, 8))
    def open_again(self, back):
        if self.last is None:
            return self.open_next(1)
        offset = max(0, self.last - back)
        self.run += 1
        self.last = offset
        self.outcomes = {offset: False}
        return self.run, self.watermark.open(offset)

    @rule(ticket=tickets)
    def settle(self, ticket):
        run, real = ticket
        self.watermark.settle(real)
        if run == self.run:
            self.outcomes[real.offset] = True

    @rule(ticket=consumes(tickets))
    def forget_a_ticket(self, ticket):
        """Some records never settle: the watermark must wait for them for ever."""

    @invariant()
    def never_passes_what_is_open(self):
        open_ = [offset for offset, durable in self.outcomes.items() if not durable]
        expected = min(open_) if open_ else (None if self.last is None else self.last + 1)
        assert self.watermark.position == expected
        assert self.watermark.open_records == len(open_)
        assert self.watermark.gap == (self.last + 1 - min(open_) if open_ else 0)


TestWatermark = Model.TestCase
TestWatermark.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_gaps_of_transaction_markers_do_not_hold_it_back():
    watermark = Watermark()
    tickets = [watermark.open(offset) for offset in (0, 1, 3, 4, 7)]
    for ticket in tickets:
        watermark.settle(ticket)
    assert watermark.position == 8


def test_an_open_record_after_a_gap_is_not_passed():
    watermark = Watermark()
    first, _ = watermark.open(0), watermark.open(2)
    watermark.settle(first)
    assert watermark.position == 2


def test_head_since_is_of_the_lowest_open_record():
    watermark = Watermark()
    first = watermark.open(0, at=1.5)
    watermark.open(1, at=2.5)
    assert watermark.head_since == 1.5
    watermark.settle(first)
    assert watermark.head_since == 2.5
