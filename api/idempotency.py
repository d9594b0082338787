"""`Idempotency-Key`: the same request under the same key is done once, and answered the same for 24 hours.

Only success is remembered. A refusal (nothing uploaded yet) may be another answer a moment later, and is.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from litestar import MediaType, Response
from litestar.params import HeaderParameter
from sqlalchemy.ext.asyncio import AsyncConnection

from api.envelope import Success
from api.principals import TenantRequest, tenant_of
from api.settling import Settling
from connectors.postgres import idempotency
from connectors.postgres.accounts.keys import Principal
from connectors.postgres.database import Database
from connectors.postgres.idempotency import Answer, Claim, Refusal
from connectors.secrets import SecretBox
from schemas.errors import ErrorCode, MedialaneError
from schemas.patterns import whole

T = TypeVar("T")

Keep = Callable[[AsyncConnection, T], Awaitable[None]]
"""Keeps what was made as the answer, in the transaction that makes it: effect and answer are there, or neither."""

REPLAYED = "Idempotent-Replayed"
_AGAIN_S = 1.0

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=whole("[!-~]+", "ASCII characters that are visible, without spaces"),
        description="Repeat a request under the same key and it is done once: the first answer comes again, verbatim, "
        f"with `{REPLAYED}: true`, for 24 hours. 409 while it is being worked on, 422 for another request.",
    ),
]


_LONGEST_S = 0.9 * idempotency.CLAIM_S


class Once:
    """Does the work of a request once per key.

    Work under a key is cut off after `longest_s`: were it to outlast the claim, a retry would do it beside the first.
    """

    def __init__(self, database: Database, box: SecretBox, *, longest_s: float = _LONGEST_S) -> None:
        self._database = database
        self._longest_s = longest_s
        self._settling = Settling(database)
        self._box = box  # answers hold what is shown only once: webhook secrets, signed addresses

    async def close(self) -> None:
        """Write nothing any more of keys whose requests have ended."""
        await self._settling.close()

    async def answer(
        self, request: TenantRequest, key: str | None, status: int, work: Callable[[], Awaitable[T]]
    ) -> Response[T]:
        """What `work` returns, as this request's answer, or the answer that the key's first request got.

        The answer is kept after the work: a process that dies in between has the retry do it again. Raises
        `MedialaneError`: idempotency_key_in_use, idempotency_key_reused, service_unavailable for work that took too
        long, and what `work` raises.
        """
        return await self.acted(request, key, status, lambda _: work())

    async def acted(
        self, request: TenantRequest, key: str | None, status: int, work: Callable[[Keep[T]], Awaitable[T]]
    ) -> Response[T]:
        """The same for work that another time would find done and refuse: it keeps what it returns by itself, as the
        last thing in its transaction.
        """
        return await self._answer(request, key, status, work, holder=None)

    async def made(
        self,
        request: TenantRequest,
        key: str | None,
        work: Callable[[Keep[T]], Awaitable[T]],
        *,
        holder: Principal | None = None,
    ) -> Response[Success[T]]:
        """The same for work that makes what must not be made twice, or is shown only once: 201.

        `work` keeps what it returns, as the last thing in its transaction. `holder`: the caller, where the answer
        grants what they hold. From one with other scopes, or who ends before what was made does, it is another request.
        """

        async def whole(keep: Keep[Success[T]]) -> Success[T]:
            return Success(data=await work(lambda connection, made: keep(connection, Success(data=made))))

        return await self._answer(request, key, 201, whole, holder=holder)

    async def _answer(
        self,
        request: TenantRequest,
        key: str | None,
        status: int,
        work: Callable[[Keep[T]], Awaitable[T]],
        *,
        holder: Principal | None,
    ) -> Response[T]:
        if key is None:
            return Response(await work(_keep_nothing), status_code=status)
        tenant_id = tenant_of(request)
        fingerprint = await _fingerprint(request, holder)
        asker = None if holder is None else holder.key_id
        async with self._database.tenant(tenant_id) as connection:
            found = await idempotency.claim(connection, tenant_id, key, fingerprint, asker=asker)
        if isinstance(found, Claim):
            return await self._work(tenant_id, key, found, status, work)
        if isinstance(found, Answer):
            kept = found._replace(body=self._box.open(found.body))
            if holder is not None and not _may_have(holder, kept):
                raise _refused(Refusal.OTHER_REQUEST)
            return _answer(kept, {REPLAYED: "true"})
        raise _refused(found)

    async def _work(
        self, tenant_id: UUID, key: str, mine: Claim, status: int, work: Callable[[Keep[T]], Awaitable[T]]
    ) -> Response[T]:
        kept = False

        async def finish(connection: AsyncConnection, body: bytes) -> bool:
            return await idempotency.finish(connection, tenant_id, key, mine, Answer(status, self._box.seal(body)))

        async def keep(connection: AsyncConnection, answer: T) -> None:
            nonlocal kept
            kept = await finish(connection, msgspec.json.encode(answer))
            if not kept:  # it took so long that a retry has the key: what this one did is taken back
                raise _refused(Refusal.RUNNING)

        try:
            async with asyncio.timeout(self._longest_s) as limit:
                answer = await work(keep)
        except BaseException as error:
            # Shielded: a client that hangs up must not leave the key taken until the claim ends by itself.
            release = partial(idempotency.release, tenant_id=tenant_id, key=key, mine=mine)
            await asyncio.shield(self._settling.settle(tenant_id, release))
            if limit.expired() and isinstance(error, TimeoutError):
                detail = "The request took too long."
                raise MedialaneError(ErrorCode.SERVICE_UNAVAILABLE, detail, retry_after_s=_AGAIN_S) from error
            raise
        body = msgspec.json.encode(answer)
        if not kept:  # whatever becomes of that, the work is done, and this is its answer
            await asyncio.shield(self._settling.settle(tenant_id, partial(finish, body=body)))
        return _answer(Answer(status, body), {})


_CODES = {
    Refusal.RUNNING: ErrorCode.IDEMPOTENCY_KEY_IN_USE,
    Refusal.OTHER_REQUEST: ErrorCode.IDEMPOTENCY_KEY_REUSED,
}


def _refused(found: Refusal) -> MedialaneError:
    again_s = _AGAIN_S if found is Refusal.RUNNING else None
    return MedialaneError(_CODES[found], field="Idempotency-Key", retry_after_s=again_s)


async def _keep_nothing(_connection: AsyncConnection, _answer: object) -> None:
    """Without a key nothing is repeated."""


class _Granted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    expires_at: datetime | None


def _may_have(holder: Principal, kept: Answer) -> bool:
    # Who asked first has it already, and may end sooner by now: a key that rotated itself was cut short by it.
    if holder.expires_at is None or (kept.asker is not None and kept.asker == holder.key_id):
        return True
    ends_at = msgspec.json.decode(kept.body, type=Success[_Granted]).data.expires_at
    return ends_at is not None and ends_at <= holder.expires_at


async def _fingerprint(request: TenantRequest, holder: Principal | None) -> bytes:
    """What makes a request the same one: its address, its body and the holder's scopes, if any, but not whose key it
    comes with: that may have been rotated in between. Nor its method: complete has two for one thing.
    """
    scopes = () if holder is None else holder.scopes
    digest = hashlib.sha256(b"".join(part.encode() + b"\0" for part in (request.url.path, *sorted(scopes))))
    digest.update(await request.body())
    return digest.digest()


def _answer(answer: Answer, headers: dict[str, str]) -> Response[T]:
    return Response(answer.body, status_code=answer.status, headers=headers, media_type=MediaType.JSON)  # type: ignore[arg-type]
