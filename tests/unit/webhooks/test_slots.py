"""Slots: nobody may hold so many that others find none."""

from collections import Counter
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.webhooks.slots import Slots

ENDPOINTS = [uuid4() for _ in range(6)]
TENANT = uuid4()


def fill(slots, endpoint, tenant=TENANT):
    count = 0
    while slots.take(endpoint, tenant):
        count += 1
    return count


def fill_others(slots):
    """Take what is left, for ever other tenants; returns how many each got."""
    got = []
    while count := fill(slots, uuid4(), uuid4()):
        got.append(count)
    return got


def sicken(slots, tenant, count):
    """Endpoints of the tenant whose last request got no answer."""
    made = [uuid4() for _ in range(count)]
    for endpoint in made:
        assert slots.take(endpoint, tenant)
        end(slots, endpoint, answered=False)
    return made


def end(slots, endpoint, *, answered):
    slots.learn(endpoint, answered=answered)
    slots.give_back(endpoint)


def test_one_endpoint_gets_its_cap():
    slots = Slots(64, 16)
    assert fill(slots, ENDPOINTS[0]) == 16
    assert (slots.in_flight, slots.free) == (16, 48)


def test_a_tenant_alone_gets_three_quarters_whatever_endpoints_it_has():
    slots = Slots(64, 16)
    assert [fill(slots, uuid4()) for _ in range(50)] == [16, 16, 11, 5] + [0] * 46


def test_a_tenant_gets_no_more_by_endpoints_that_it_registers_anew():
    slots = Slots(64, 16)
    held = [endpoint for endpoint in (uuid4() for _ in range(50)) for _ in range(fill(slots, endpoint))]
    for endpoint in held:
        end(slots, endpoint, answered=False)
        assert sum(fill(slots, uuid4()) for _ in range(50)) == 1


def test_many_tenants_find_a_slot_beside_one_whose_endpoints_take_all_that_they_get():
    slots = Slots(64, 16)
    for _ in range(50):
        fill(slots, uuid4())
    assert fill_others(slots) == [5, 3] + [1] * 8


def test_where_others_are_a_tenant_gets_half_of_what_they_leave():
    slots = Slots(64, 16)
    assert fill(slots, ENDPOINTS[0], uuid4()) == 16
    assert sum(fill(slots, uuid4()) for _ in range(50)) == 24
    assert fill_others(slots) == [8, 5, 3] + [1] * 8


def test_a_tenants_sick_endpoints_leave_half_of_its_share_to_its_others_and_of_the_half_to_other_tenants():
    slots, other = Slots(64, 16), uuid4()
    sick, others = sicken(slots, TENANT, 50), sicken(slots, other, 50)
    assert sum(slots.take(endpoint, TENANT) for endpoint in sick) == 16
    assert fill(slots, uuid4()) == 16
    assert sum(slots.take(endpoint, other) for endpoint in others) == 8
    assert fill(slots, uuid4(), other) == 8


def test_one_slot_is_enough_to_work():
    slots = Slots(1, 16)
    assert fill(slots, ENDPOINTS[0]) == 1
    end(slots, ENDPOINTS[0], answered=False)
    assert fill(slots, ENDPOINTS[0]) == 1


def test_endpoints_that_do_not_answer_share_half_one_slot_each():
    slots = Slots(8, 4)
    tenants = [uuid4() for _ in range(6)]
    sick = [sicken(slots, tenant, 1)[0] for tenant in tenants]
    assert [fill(slots, endpoint, tenant) for endpoint, tenant in zip(sick, tenants, strict=True)] == [1, 1, 1, 1, 0, 0]
    assert slots.take(uuid4(), uuid4())
    end(slots, sick[0], answered=True)
    assert fill(slots, sick[0], tenants[0]) == 1


def test_an_answer_heals():
    slots = Slots(64, 16)
    slots.take(ENDPOINTS[0], TENANT)
    end(slots, ENDPOINTS[0], answered=False)
    assert fill(slots, ENDPOINTS[0]) == 1
    end(slots, ENDPOINTS[0], answered=True)
    assert fill(slots, ENDPOINTS[0]) == 16


def test_a_receiver_holds_back_its_own_if_it_is_sick_or_full_and_not_if_the_process_is():
    slots = Slots(8, 2)
    (sick,), (full, other), tenant = sicken(slots, TENANT, 1), ENDPOINTS[:2], uuid4()
    assert fill(slots, full) == 2
    fill_others(slots)
    assert slots.free == 0
    assert not slots.take(other, tenant)
    held_back = [slots.held_back(one, of) for one, of in ((sick, TENANT), (full, TENANT), (other, tenant))]
    assert held_back == [True, True, False]


def test_a_tenant_that_has_its_share_holds_back_its_own_and_not_where_it_is_alone_or_the_process_full():
    slots, other = Slots(64, 16), uuid4()
    while fill(slots, uuid4()):
        pass
    assert not slots.held_back(uuid4(), TENANT)
    assert slots.take(ENDPOINTS[0], other)
    assert not slots.take(uuid4(), TENANT)
    assert slots.held_back(uuid4(), TENANT)
    fill_others(slots)
    slots.looked()
    assert not slots.take(ENDPOINTS[0], other)
    assert not slots.take(uuid4(), TENANT)
    assert [slots.held_back(uuid4(), tenant) for tenant in (TENANT, other)] == [False, False]


def test_a_receiver_that_is_outrun_is_so_too_when_one_of_its_answers_has_just_come():
    slots = Slots(8, 2)
    assert fill(slots, ENDPOINTS[0]) == 2
    for _ in range(2):
        end(slots, ENDPOINTS[0], answered=True)
        assert slots.held_back(ENDPOINTS[0], TENANT)
    slots.looked()
    assert slots.take(ENDPOINTS[0], TENANT)
    assert slots.take(ENDPOINTS[0], TENANT)
    assert not slots.held_back(ENDPOINTS[0], TENANT), "it was refused nothing since"
    assert not slots.take(ENDPOINTS[0], TENANT)
    assert slots.held_back(ENDPOINTS[0], TENANT)


def test_a_receiver_that_answers_now_and_then_holds_back_its_own_all_the_while():
    slots = Slots(8, 2)
    for answered in (False, True, False, True):
        fill(slots, ENDPOINTS[0])
        end(slots, ENDPOINTS[0], answered=answered)
        assert slots.held_back(ENDPOINTS[0], TENANT)
        slots.looked()


def test_a_slot_that_nobody_holds_cannot_come_back():
    with pytest.raises(RuntimeError):
        Slots(4, 4).give_back(ENDPOINTS[0])


class SlotsMachine(RuleBasedStateMachine):
    """Against a plain list of who holds what. Every tenant has many endpoints, and another one whenever it likes."""

    @initialize(total=st.integers(1, 40), cap=st.integers(1, 20))
    def make(self, total, cap):
        self.total, self.cap = total, cap
        self.slots = Slots(total, cap)
        self.held, self.sick = [], set()  # endpoints are (tenant, number)
        self.ids = {}

    def id_of(self, endpoint):
        return self.ids.setdefault(endpoint, uuid4())

    @rule(tenant=st.sampled_from(ENDPOINTS), number=st.integers(0, 9), greedy=st.booleans())
    def take(self, tenant, number, greedy):
        endpoint = tenant, number
        while self.try_to_take(endpoint) and greedy:
            pass

    def try_to_take(self, endpoint):
        tenant = endpoint[0]
        by_tenant = Counter(one[0] for one in self.held)
        left = self.total - len(self.held) + by_tenant[tenant]
        got = self.slots.take(self.id_of(endpoint), tenant)
        if got:
            self.held.append(endpoint)
            if by_tenant[tenant]:
                assert by_tenant[tenant] + 1 <= (left * 3 // 4 if set(by_tenant) == {tenant} else left // 2)
                assert self.total - len(self.held) >= max(1, self.total // 8), "kept for who holds none"
            if endpoint in self.sick:
                assert sum(one in self.sick for one in self.held) <= max(1, self.total // 2) + self.overhang
        elif endpoint not in self.sick and not by_tenant[tenant]:
            assert len(by_tenant) >= max(1, self.total // 8), "who holds none finds one"
        assert got or self.held, "an idle process must always start"
        return got

    @rule(tenants=st.integers(1, 6))
    def others_find_a_slot(self, tenants):
        """Fresh ones, as many as are kept for, less those that have one."""
        for _ in range(min(tenants, max(1, self.total // 8) - len({one[0] for one in self.held}))):
            assert self.try_to_take((uuid4(), 0))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), answered=st.sampled_from([True, False, None]))
    def give_back(self, data, answered):
        endpoint = data.draw(st.sampled_from(self.held))
        if answered is not None:
            self.slots.learn(self.id_of(endpoint), answered=answered)
            (self.sick.discard if answered else self.sick.add)(endpoint)
        self.slots.give_back(self.id_of(endpoint))
        self.held.remove(endpoint)
        assert self.slots.freed.is_set()

    @property
    def overhang(self):
        """Endpoints that fell sick while they held more than one keep those until they come back."""
        return sum(max(0, self.held.count(one) - 1) for one in self.sick)

    @invariant()
    def counts_agree(self):
        if hasattr(self, "slots"):
            assert self.slots.in_flight == len(self.held) <= self.total
            assert self.slots.free_for_sick == min(
                self.slots.free, max(1, self.total // 2) - sum(one in self.sick for one in self.held)
            )
            assert all(count <= self.cap for count in Counter(self.held).values())


TestSlotsMachine = SlotsMachine.TestCase
TestSlotsMachine.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)
