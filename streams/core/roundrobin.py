"""Deficit round robin: tenants that share a lane get equal shares of its CPU seconds, whatever their jobs cost.

A job is charged its tenant's estimate when it starts, and the difference is settled when its cost is known. So a tenant
of long jobs gets fewer of them, and one that queued thousands delays nobody by more than a job or two.

A newcomer's first job is a gift, and goes first. As much is then given to all who are here together, by weight, and who
can pay takes turns with newcomers: however many come and go, nobody waits for ever.
"""

from collections import deque
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Generic, NamedTuple, TypeVar

from streams.core.queues import Beyond, Item

T = TypeVar("T")

_LEARN = 0.3  # how much of an estimate is the newest cost
_LEAST = 1e-3  # a job is taken to cost this at least, or any number of idle ones could start


class Share(NamedTuple):
    """What a tenant may have: its weight among others, and the most jobs that run at once in a lane (0: no bound)."""

    weight: float = 1.0
    cap: int = 0

    def reached(self, running: int) -> bool:
        """Whether this many jobs are as many as may run."""
        return 0 < self.cap <= running


class Shares:
    """Every tenant's share. Changes take effect at the next job that starts; the default is for those not named."""

    def __init__(self, default: Share | None = None) -> None:
        self.default = default or Share()
        self.version = 0  # grows with every change
        self._named: dict[str, Share] = {}

    def set(self, tenant: str, share: Share) -> None:
        """Give a tenant a share of its own. Raises `ValueError` for a weight that is not above 0."""
        self.replace({**self._named, tenant: share})

    def replace(self, named: Mapping[str, Share]) -> bool:
        """Give these tenants these shares, and all others the default; returns whether that changes anything.

        Raises `ValueError` for a weight that is not above 0.
        """
        for share in named.values():
            if share.weight <= 0 or share.cap < 0:
                raise ValueError(f"a share needs a weight above 0 and a cap of at least 0, not {share}")
        if named == self._named:
            return False
        self._named = dict(named)
        self.version += 1
        return True

    def of(self, tenant: str) -> Share:
        """The tenant's share now."""
        return self._named.get(tenant, self.default)


class _Account(Generic[T]):
    """One tenant in one lane: what waits, what runs and was charged, and what it may still spend (CPU seconds)."""

    def __init__(self, estimate: float) -> None:
        self.waiting: deque[Item[T]] = deque()
        self.charged: deque[float] = deque()
        self.deficit = estimate
        self.estimate = estimate
        self.new = True  # nothing of it was started yet
        self.learnt = False  # `estimate` is from costs of its own
        self.overdrawn = False  # its last start was not paid for

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.charged

    @property
    def settled(self) -> bool:
        """Idle and not in debt. Who is in debt is remembered until rounds have paid it off: leaving pays nothing."""
        return self.idle and self.deficit >= 0


class DeficitRoundRobin(Generic[T]):
    """A lane's queue (`streams.core.queues.LaneQueue`): per-tenant queues, first in, first out within a tenant.

    Only what was offered before goes ahead: whoever lost it, it has waited its turn already. For the same reason every
    other start is for tenants that have such an item. They have paid for it once, and may start one of them in debt.
    """

    def __init__(self, shares: Shares | None = None) -> None:
        self._shares = shares or Shares()
        self._accounts: dict[str, _Account[T]] = {}
        self._ring: deque[str] = deque()  # tenants with something waiting, in the order of their turns
        self._waiting = 0
        self._first_estimate = 1.0  # what tenants' first jobs cost here lately
        self._again_went = False  # with the last item that was taken
        self._newcomer_went = {False: False, True: False}  # with the last of those offered first, and of those again
        self._turn: tuple[str, int] | None = None  # who is next, and the version of the shares by which that is so

    def push(self, item: Item[T]) -> None:
        """Add a new item.

        A tenant that had nothing here and is in no debt has enough for one job, and goes before those who had theirs,
        in turn with them and behind earlier newcomers.
        """
        self._turn = None
        account = self._accounts.get(item.tenant)
        if account is None:
            account = self._accounts[item.tenant] = _Account(self._first_estimate)
            self._line_up_behind_newcomers(item.tenant)
        elif not account.waiting:
            self._ring.append(item.tenant)
        ahead = (
            sum(1 for _ in takewhile(lambda one: one.again, account.waiting)) if item.again else len(account.waiting)
        )
        account.waiting.insert(ahead, item)
        self._waiting += 1

    @property
    def ready(self) -> bool:
        """Whether `pop` would find an item: somebody waits who is below its cap."""
        return any(self._below_cap(tenant) for tenant in self._ring)

    @property
    def turn(self) -> str:
        """Whose item `pop` would take; raises `IndexError` when nobody may start one."""
        if self._turn is None or self._turn[1] != self._shares.version:
            self._turn = self._next(), self._shares.version
        return self._turn[0]

    def pop(self) -> Item[T]:
        """Take the next item and charge its tenant; raises `IndexError` when nobody may start one."""
        tenant, self._turn = self.turn, None
        account = self._accounts[tenant]
        account.overdrawn = self._missing(tenant) > 0
        item = account.waiting.popleft()
        account.charged.append(account.estimate)
        account.deficit -= account.estimate
        self._again_went, self._newcomer_went[item.again] = item.again, account.new
        if account.new:
            account.new = False
            # By the weights of those that are here: who left in debt is paid off, too, but takes nothing from them.
            here = sum(self._shares.of(one).weight for one, other in self._accounts.items() if not other.idle)
            self._credit_all(account.estimate / here, gift=True)
        self._ring.remove(tenant)
        if account.waiting:
            self._ring.append(tenant)
        self._waiting -= 1
        return item

    def put_back(self, item: Item[T]) -> None:
        """Undo a `pop`: the item is its tenant's next, and costs nothing."""
        self._turn = None
        account = self._accounts[item.tenant]
        account.deficit += account.charged.pop()
        account.overdrawn = False
        if account.waiting:
            self._ring.remove(item.tenant)
        self._line_up_behind_newcomers(item.tenant)
        account.waiting.appendleft(item)
        self._waiting += 1

    def settle(self, tenant: str, cost: float) -> None:
        """A started item turned out to cost so much; 0 if it led to no work, from which nothing is learnt."""
        self._turn = None
        account = self._accounts[tenant]
        account.deficit += account.charged.popleft() - cost
        account.overdrawn = account.overdrawn and cost > 0  # a start that came to nothing uses up no favour
        if cost > 0:
            account.estimate = _learn(account.estimate, cost)
            if not account.learnt:
                self._first_estimate = _learn(self._first_estimate, cost)
                # What was given for the first job is for that job: what it did not cost pays for one more at most.
                account.estimate = min(account.estimate, max(cost, _LEAST))
                account.deficit = min(account.deficit, account.estimate)
            account.learnt = True
        self._forget(tenant)

    def beyond_share(self, room: int) -> list[Beyond[T]]:
        """Take out each tenant's newest items beyond its share of so many places; each keeps one at least."""
        weights = {tenant: self._shares.of(tenant).weight for tenant in self._ring}
        total = sum(weights.values()) + self._shares.default.weight  # a place is kept for who is not here yet
        out: list[Beyond[T]] = []
        for tenant, weight in weights.items():
            kept = max(1, int(room * weight / total))
            waiting = self._accounts[tenant].waiting
            out += [Beyond(item, position) for position, item in enumerate(waiting) if position >= kept]
            while len(waiting) > kept:
                waiting.pop()
        self._waiting -= len(out)
        return out

    def older(self, offset: int) -> list[Beyond[T]]:
        """Take out every item whose offset is not above this one."""
        self._turn = None
        out: list[Beyond[T]] = []
        for tenant in list(self._ring):
            account = self._accounts[tenant]
            gone = [item for item in account.waiting if item.entry.offset <= offset]
            account.waiting = deque(item for item in account.waiting if item.entry.offset > offset)
            out += [Beyond(item, position) for position, item in enumerate(gone)]
            if not account.waiting:
                self._ring.remove(tenant)
                self._forget(tenant)
        self._waiting -= len(out)
        return out

    def clear(self) -> None:
        """Forget every waiting item; what runs is still settled."""
        self._turn = None
        self._ring.clear()
        self._waiting = 0
        for account in self._accounts.values():
            account.waiting.clear()
        for tenant in list(self._accounts):
            self._forget(tenant)

    def __len__(self) -> int:
        return self._waiting

    def _next(self) -> str:
        able = [tenant for tenant in self._ring if self._below_cap(tenant)]
        if not able:
            raise IndexError("nothing may start")
        candidates = [tenant for tenant in able if self._may_start(tenant)]
        if not candidates:
            # As much as the tenant needs that needs the least, and a rounding error: more would be stored up by all.
            least = min(self._missing(tenant) / self._shares.of(tenant).weight for tenant in able)
            self._credit_all(least * (1 + 1e-9) + 1e-9)
            candidates = [tenant for tenant in able if self._may_start(tenant)]
        # Where there are both kinds they take turns, so that neither keeps the other from starting for ever: what was
        # offered before and what was not, and in either of them newcomers and the others. Each of the two has a turn of
        # its own for that: one for both would move in step with them, and never come to the fourth.
        candidates = _in_turn(candidates, self._offered_before, went=self._again_went)
        again = self._offered_before(candidates[0])
        candidates = _in_turn(candidates, lambda one: self._accounts[one].new, went=self._newcomer_went[again])
        return candidates[0]

    def _line_up_behind_newcomers(self, tenant: str) -> None:
        self._ring.insert(sum(self._accounts[one].new for one in self._ring), tenant)

    def _credit_all(self, seconds: float, *, gift: bool = False) -> None:
        """Give every tenant so many CPU seconds for each unit of its weight. Somebody waits or runs."""
        for tenant, account in list(self._accounts.items()):
            share = self._shares.of(tenant)
            credited = account.deficit + seconds * share.weight
            if gift or not account.waiting or share.reached(len(account.charged)):
                # Nobody gets more than one job's worth of a gift, or for what he could not start: nothing is hoarded.
                credited = min(credited, max(account.deficit, account.estimate))
            account.deficit = credited
            if account.settled:
                del self._accounts[tenant]

    def _offered_before(self, tenant: str) -> bool:
        return self._accounts[tenant].waiting[0].again

    def _may_start(self, tenant: str) -> bool:
        account = self._accounts[tenant]
        favoured = self._offered_before(tenant) and not self._again_went and not account.overdrawn
        return favoured or self._missing(tenant) <= 0

    def _missing(self, tenant: str) -> float:
        account = self._accounts[tenant]
        # Sums of floats: a rounding error is no debt.
        return account.estimate - account.deficit - 1e-9 * account.estimate

    def _below_cap(self, tenant: str) -> bool:
        return not self._shares.of(tenant).reached(len(self._accounts[tenant].charged))

    def _forget(self, tenant: str) -> None:
        account = self._accounts.get(tenant)
        if all(other.idle for other in self._accounts.values()):
            self._accounts.clear()
        elif account is not None and account.settled:
            del self._accounts[tenant]


def _learn(estimate: float, cost: float) -> float:
    return max(_LEAST, (1 - _LEARN) * estimate + _LEARN * cost)


def _in_turn(tenants: list[str], kind: Callable[[str], bool], *, went: bool) -> list[str]:
    """Those that are of the kind if the last one that went was not, and the reverse; all, if there are no such."""
    return [tenant for tenant in tenants if kind(tenant) is not went] or tenants
