"""A bucket of tokens within one process, whatever the database grants."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from support.principals import principal

from api.limits import rates as limits
from api.limits.rates import RateLimiter
from connectors.postgres.accounts.allowances import Tokens
from connectors.postgres.accounts.plans import Plan


class Granting:
    """A database that grants what it was told to."""

    def __init__(self, *grants):
        self.grants = list(grants)
        self.asked = 0

    @asynccontextmanager
    async def tenant(self, _tenant_id):
        yield self

    async def lease(self, *_, **__):
        self.asked += 1
        return self.grants.pop(0)


class CountedLock(asyncio.Lock):
    """Who takes it again and again would never give the others a turn, nor the test an end."""

    taken = 0

    async def acquire(self):
        CountedLock.taken += 1
        assert CountedLock.taken < 100, "it would go on for ever"
        return await super().acquire()


@pytest.fixture
def granting(monkeypatch):
    def of(*grants):
        made = Granting(*grants)
        monkeypatch.setattr(limits.allowances, "lease_tokens", made.lease)
        return made

    monkeypatch.setattr(CountedLock, "taken", 0)
    monkeypatch.setattr(limits.asyncio, "Lock", CountedLock)
    return of


def rated(**rates):
    return principal(plan=Plan(name="p", **({"requests_per_s": 10, "request_burst": 100} | rates)))


@pytest.mark.parametrize("granted", [0, -90])
async def test_where_nothing_is_granted_those_who_ask_are_refused_and_the_database_is_asked_once(granting, granted):
    database = granting(Tokens(granted, 0.5))
    limiter, who = RateLimiter(database), rated(requests_per_s=1)
    answers = await asyncio.gather(*(limiter.take(who) for _ in range(20)))
    assert [answer.left for answer in answers] == [0] * 20
    assert all(answer.wait_s > 0 for answer in answers)
    assert database.asked == 1


async def test_tenants_of_whom_nothing_comes_are_forgotten_and_may_come_again(granting):
    database = granting(*[Tokens(5, 50.0)] * 4)
    limiter, tenants = RateLimiter(database), [rated() for _ in range(3)]
    for who in tenants:
        await limiter.take(who)
    assert limiter.forget_idle() == 0
    assert limiter.forget_idle(idle_s=0) == 3
    assert limiter.forget_idle(idle_s=0) == 0
    assert (await limiter.take(tenants[0])).wait_s == 0
    assert database.asked == 4
