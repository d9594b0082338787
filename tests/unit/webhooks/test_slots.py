"""Slots: nobody may hold so many that others find none."""

from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.webhooks.slots import Slots

ENDPOINTS = [uuid4() for _ in range(6)]


def fill(slots, endpoint):
    count = 0
    while slots.take(endpoint):
        count += 1
    return count


def test_one_endpoint_gets_its_cap():
    slots = Slots(64, 16)
    assert fill(slots, ENDPOINTS[0]) == 16
    assert (slots.in_flight, slots.free) == (16, 48)


def test_many_greedy_endpoints_leave_room_for_one_more():
    slots = Slots(64, 16)
    held = [fill(slots, uuid4()) for _ in range(6)]
    assert held[0] == 16
    assert all(held)
    assert slots.take(uuid4())


def test_one_slot_is_enough_to_work():
    slots = Slots(1, 16)
    assert fill(slots, ENDPOINTS[0]) == 1
    slots.give_back(ENDPOINTS[0], answered=False)
    assert fill(slots, ENDPOINTS[0]) == 1


def test_endpoints_that_do_not_answer_share_half_one_slot_each():
    slots = Slots(8, 4)
    sick = [uuid4() for _ in range(6)]
    for endpoint in sick:
        assert slots.take(endpoint)
        slots.give_back(endpoint, answered=False)
    assert [fill(slots, endpoint) for endpoint in sick] == [1, 1, 1, 1, 0, 0]
    assert slots.take(uuid4())
    slots.give_back(sick[0], answered=True)
    assert fill(slots, sick[0]) == 1


def test_an_answer_heals():
    slots = Slots(64, 16)
    slots.take(ENDPOINTS[0])
    slots.give_back(ENDPOINTS[0], answered=False)
    assert fill(slots, ENDPOINTS[0]) == 1
    slots.give_back(ENDPOINTS[0], answered=True)
    assert fill(slots, ENDPOINTS[0]) == 16


def test_a_receiver_holds_back_its_own_if_it_is_sick_or_full_and_not_if_the_process_is():
    slots = Slots(8, 2)
    sick, full, other = ENDPOINTS[:3]
    slots.take(sick)
    slots.give_back(sick, answered=False)
    assert fill(slots, full) == 2
    while fill(slots, uuid4()):
        pass
    assert slots.free == 0
    assert not slots.take(other)
    assert [slots.held_back(endpoint) for endpoint in (sick, full, other)] == [True, True, False]


def test_a_receiver_that_is_outrun_is_so_too_when_one_of_its_answers_has_just_come():
    slots = Slots(8, 2)
    assert fill(slots, ENDPOINTS[0]) == 2
    for _ in range(2):
        slots.give_back(ENDPOINTS[0], answered=True)
        assert slots.held_back(ENDPOINTS[0])
    slots.looked()
    assert slots.take(ENDPOINTS[0])
    assert slots.take(ENDPOINTS[0])
    assert not slots.held_back(ENDPOINTS[0]), "it was refused nothing since"
    assert not slots.take(ENDPOINTS[0])
    assert slots.held_back(ENDPOINTS[0])


def test_a_receiver_that_answers_now_and_then_holds_back_its_own_all_the_while():
    slots = Slots(8, 2)
    for answered in (False, True, False, True):
        fill(slots, ENDPOINTS[0])
        slots.give_back(ENDPOINTS[0], answered=answered)
        assert slots.held_back(ENDPOINTS[0])
        slots.looked()


def test_a_slot_that_nobody_holds_cannot_come_back():
    with pytest.raises(RuntimeError):
        Slots(4, 4).give_back(ENDPOINTS[0])


class SlotsMachine(RuleBasedStateMachine):
    """Against a plain list of who holds what."""

    @initialize(total=st.integers(1, 20), cap=st.integers(1, 20))
    def make(self, total, cap):
        self.total, self.cap = total, cap
        self.slots = Slots(total, cap)
        self.held, self.sick = [], set()

    @rule(endpoint=st.sampled_from(ENDPOINTS))
    def take(self, endpoint):
        if self.slots.take(endpoint):
            self.held.append(endpoint)
            if endpoint in self.sick:
                assert sum(one in self.sick for one in self.held) <= max(1, self.total // 2) + self.overhang
        elif not self.held:
            raise AssertionError("an idle process must always start")

    @precondition(lambda self: self.held)
    @rule(data=st.data(), answered=st.sampled_from([True, False, None]))
    def give_back(self, data, answered):
        endpoint = data.draw(st.sampled_from(self.held))
        self.slots.give_back(endpoint, answered=answered)
        self.held.remove(endpoint)
        if answered is not None:
            (self.sick.discard if answered else self.sick.add)(endpoint)
        assert self.slots.freed.is_set()

    @property
    def overhang(self):
        """Endpoints that fell sick while they held more than one keep those until they come back."""
        return sum(max(0, self.held.count(one) - 1) for one in self.sick)

    @invariant()
    def counts_agree(self):
        if hasattr(self, "slots"):
            assert self.slots.in_flight == len(self.held) <= self.total
            assert all(self.held.count(one) <= self.cap for one in ENDPOINTS)


TestSlotsMachine = SlotsMachine.TestCase
TestSlotsMachine.settings = settings(deadline=None, max_examples=40, stateful_step_count=30)
