"""Uploads through the real API, as a patient client does: whatever is not confirmed is done again."""

import asyncio
import hashlib
import time

import aiohttp
from yarl import URL

from harness.bed import Bed
from harness.media import Files
from harness.plan import Plan, Upload

_AT_ONCE = 6
_PATIENCE_S = 400.0
_PAUSE_S = 0.5


class Load:
    """Uploads the plan's files in their order, as far as they are released."""

    def __init__(self, bed: Bed, plan: Plan, files: Files) -> None:
        self._bed = bed
        self._plan = plan
        self._files = files
        self._next = 0
        self._released = 0
        self._more = asyncio.Condition()
        self.accepted: list[dict] = []

    async def release(self, upto: int) -> None:
        """Let uploads up to this number go."""
        async with self._more:
            self._released = max(self._released, min(upto, len(self._plan.uploads)))
            self._more.notify_all()

    async def until_accepted(self, count: int) -> None:
        """Wait until so many completes were confirmed."""
        async with self._more, asyncio.timeout(_PATIENCE_S):
            await self._more.wait_for(lambda: len(self.accepted) >= min(count, len(self._plan.uploads)))

    async def run(self) -> None:
        """Upload until everything is accepted."""
        timeout = aiohttp.ClientTimeout(total=20, connect=5)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._work(session))

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while True:
            async with self._more:
                if self._next >= len(self._plan.uploads):
                    return
                if self._next >= self._released:
                    await self._more.wait()
                    continue
                upload = self._plan.uploads[self._next]
                self._next += 1
            asset_id, sha256 = await self._upload(session, upload)
            async with self._more:
                self.accepted.append(
                    {
                        "asset_id": asset_id, "tenant_id": self._bed.tenants[upload.tenant].id, "number": upload.number,
                        "kind": upload.kind, "seconds": upload.seconds, "expected": upload.expected, "at": time.time(),
                        "made": upload.made, "codes": upload.codes, "sha256": sha256,
                    }
                )  # fmt: skip
                self._more.notify_all()

    async def _upload(self, session: aiohttp.ClientSession, upload: Upload) -> tuple[str, str]:
        """The asset's id, and the SHA-256 of its bytes."""
        name, content_type, content = self._files.make(upload)
        key = self._bed.tenants[upload.tenant].key
        headers = {"Authorization": f"Bearer {key}"}
        body = {"fileName": name, "contentType": content_type, "size": len(content)}

        async def presign():
            async with session.post(f"{self._bed.api}/api/v1/storage/presign", json=body, headers=headers) as answer:
                return (await answer.json())["data"] if answer.status == 200 else None

        presigned = await _patiently(presign, "presign")

        async def put_and_complete():
            address = URL(presigned["uploadUrl"], encoded=True)
            async with session.put(address, data=content, headers={"Content-Type": content_type}) as answer:
                if answer.status != 200:
                    return None
            async with asyncio.timeout(60):
                while True:
                    status = await complete()
                    if status == 409:  # the store lost what it had confirmed, or was away
                        return None
                    if status == 200:
                        return True
                    await asyncio.sleep(_PAUSE_S)

        async def complete():
            address = f"{self._bed.api}/api/v1/assets/{presigned['assetId']}/complete"
            async with session.post(address, headers=headers) as answer:
                return answer.status

        await _patiently(put_and_complete, "upload")
        return presigned["assetId"], hashlib.sha256(content).hexdigest()


async def _patiently(call, what):
    """Call again until it returns something."""
    last: object = None
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                try:
                    if (done := await call()) is not None:
                        return done
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    last = error
                await asyncio.sleep(_PAUSE_S)
    except TimeoutError:
        raise AssertionError(f"{what} was not accepted within {_PATIENCE_S:.0f} s: {last!r}") from None
