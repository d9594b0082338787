"""Places in this process for what takes long: so many in all, of which a tenant has its share at most."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from schemas.errors import ErrorCode, MedialaneError


class Places:
    """Counts who is there. `what` is under way, for people; `excess` is what a tenant beyond its share is told."""

    def __init__(self, most: int, share: int, *, what: str, excess: ErrorCode, retry_after_s: float) -> None:
        self._most = most
        self._share = share
        self._what = what
        self._excess = excess
        self._retry_after_s = retry_after_s
        self._taken: Counter[UUID] = Counter()

    @contextmanager
    def place(self, tenant_id: UUID) -> Iterator[None]:
        """A place while the body runs.

        Raises `MedialaneError`: `excess` beyond the tenant's share, service_unavailable if all are taken.
        """
        # The share first: a tenant's own excess is no failure of the service, also when that is full.
        if self._taken[tenant_id] >= self._share:
            detail = f"Too many {self._what} for you; come again."
            raise MedialaneError(self._excess, detail, retry_after_s=self._retry_after_s)
        if self._taken.total() >= self._most:
            detail = f"Too many {self._what}; come again."
            raise MedialaneError(ErrorCode.SERVICE_UNAVAILABLE, detail, retry_after_s=self._retry_after_s)
        self._taken[tenant_id] += 1
        try:
            yield
        finally:
            self._taken[tenant_id] -= 1
            self._taken += Counter()  # forgets who has none
