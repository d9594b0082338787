"""A store that refuses a file because it is not what a child said is no store that is away."""

import asyncio
import hashlib
from types import SimpleNamespace
from uuid import UUID

import pytest

from connectors.objectstore.port import Stored
from processors.contract import Rendition
from schemas.errors import ErrorClass, ErrorCode, MedialaneError
from streams.media.outputs import Outputs

CONTENT = b"pixels"
SOON_S = 20.0


class Refusing:
    """A store that takes nothing the first `times`; `meanwhile` is what a child does."""

    def __init__(self, times=1_000_000, meanwhile=lambda path: None):
        self._times = times
        self._meanwhile = meanwhile

    async def put_file(self, key, path, content_type, sha256_hex, *, cache_control):
        self._times -= 1
        if self._times < 0:
            return Stored(created=True, size=len(CONTENT), sha256=sha256_hex)
        self._meanwhile(path)
        raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE, "The object store refused (400).")


@pytest.fixture
def stored(tmp_path):
    """What becomes of a file that a child said this checksum of, and the outages that were told."""
    path = tmp_path / "thumbnail.webp"
    path.write_bytes(CONTENT)

    async def run(store, sha256):
        outages = []
        job = SimpleNamespace(tenant_id=UUID(int=1))
        outputs = Outputs(job, bytes(32), None, store, on_outage=outages.append)
        outputs.put(
            Rendition(
                profile="thumbnail", profile_version=1, path=str(path), content_type="image/webp", format="webp",
                width=1, height=1, duration_s=None, size=len(CONTENT), sha256=sha256,
            )
        )  # fmt: skip
        try:
            async with asyncio.timeout(SOON_S):
                return [variant.size for variant in await outputs.close()], len(outages)
        except MedialaneError as error:
            return error, len(outages)
        finally:
            outputs.abandon()

    return run


def truncate(path):
    """By a descriptor that was open before the file was moved away; and back, so that it looks the same."""
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(CONTENT)


@pytest.mark.parametrize(
    ("store", "sha256"),
    [
        (Refusing(), "0" * 64),
        (Refusing(meanwhile=lambda path: path.write_bytes(b"other")), hashlib.sha256(CONTENT).hexdigest()),
        (Refusing(meanwhile=truncate), hashlib.sha256(CONTENT).hexdigest()),
    ],
    ids=["wrong from the beginning", "changed", "changed and back"],
)
async def test_a_file_that_is_not_what_was_said_costs_an_attempt_and_is_no_outage(stored, store, sha256):
    error, outages = await stored(store, sha256)
    assert error.code is ErrorCode.PROCESSING_FAILED
    assert error.error_class is ErrorClass.TRANSIENT
    assert outages == 0, "nobody else's work waits for it"


async def test_what_is_as_it_was_said_waits_for_the_store(stored):
    assert await stored(Refusing(times=2), hashlib.sha256(CONTENT).hexdigest()) == ([len(CONTENT)], 1)
