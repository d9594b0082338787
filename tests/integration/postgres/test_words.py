"""The events that end an asset carry its owner's words, as they are then, and never more than a row has room for."""

import json

import pytest
from support import protocol

from connectors.postgres.assets.lifecycle import change_asset
from connectors.postgres.assets.variants import NewVariant
from schemas.ids import uuid7
from schemas.profile_sets import MOST_OWN
from schemas.profiles import CATALOGUE
from schemas.states import MediaKind

SHA = bytes(range(32))
# The longest that the API takes: a control character is one of 64, and six bytes of JSON.
TAGS = tuple(f"{number:02}" + "\x01" * 62 for number in range(64))
METADATA = {f"{number:02}": "\U0001f3d6" * 202 for number in range(20)}
FILE_NAME = "\U0001f3d6" * 255
ALL = MOST_OWN + sum(profile.stage.kind is MediaKind.IMAGE for profile in CATALOGUE.values())


def variants(count):
    """As large as they get: names of 40 letters, keys to match."""
    return [
        NewVariant(
            profile=name, profile_version=2**31 - 1, content_sha256=SHA, content_type="image/jpeg", format="jpeg",
            object_key=f"media/{uuid7()}/{SHA.hex()}/{name}.v{2**31 - 1}.jpg", width=4096, height=4096,
            duration_s=None, size=10**8, sha256=SHA,
        )
        for name in (f"{number:03}".rjust(40, "p") for number in range(count))
    ]  # fmt: skip


async def ended(worker, seed, seeded, *, ready=True, words=(FILE_NAME, METADATA, TAGS), count=0):
    """The last event of an asset whose words are changed while its job is under way."""
    job = await seed.claim(worker, seeded)
    name, metadata, tags = words
    await seed.change(worker, "UPDATE assets SET file_name = :n WHERE id = :a", n=name, a=seeded.asset_id)
    async with worker.transaction() as connection:
        assert await change_asset(connection, seeded.tenant_id, seeded.asset_id, metadata=metadata, tags=tags)
    async with worker.transaction() as connection:
        if ready:
            await protocol.join(connection, job, SHA)
            await protocol.finish(connection, job, SHA, variants=variants(count))
        else:
            await protocol.fail(connection, job)
    told = "SELECT payload FROM outbox WHERE aggregateid = :a ORDER BY seq DESC LIMIT 1"
    return json.loads((await seed.column(worker, told, a=str(seeded.asset_id)))[0])


@pytest.mark.parametrize("ready", [True, False], ids=["ready", "failed"])
async def test_they_are_those_of_the_moment_at_which_it_ended(worker, seed, seeded, ready):
    event = await ended(worker, seed, seeded, ready=ready, words=("a.jpg", {"order": "7"}, ("beach",)))
    assert event["type"] == ("asset.ready" if ready else "asset.failed")
    assert (event["file_name"], event["metadata"], event["tags"]) == ("a.jpg", {"order": "7"}, ["beach"])


async def test_none_are_not_left_out(worker, seed, seeded):
    event = await ended(worker, seed, seeded, words=("a.jpg", {}, ()))
    assert (event["metadata"], event["tags"]) == ({}, [])


@pytest.mark.parametrize(
    ("count", "tags", "metadata", "names"),
    [(ALL, True, True, ALL), (80, False, True, 80), (120, False, False, 120), (200, False, False, None)],
)
async def test_what_has_no_room_is_left_out_and_the_job_ends(worker, seed, seeded, count, tags, metadata, names):
    event = await ended(worker, seed, seeded, count=count)
    assert event["tags"] == (list(TAGS) if tags else None)
    assert event["metadata"] == (METADATA if metadata else None)
    told = [variant["profile"] for variant in event["variants"]]
    made = [variant.profile for variant in variants(count)]
    assert told == made[-len(told) :]
    assert (len(told) == names) if names else (100 < len(told) < count)
