"""The walk over the bucket on a real Postgres and a real S3 server: one of all keepers', and it outlasts each."""

import asyncio
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry
from psycopg import errors
from sqlalchemy.exc import IntegrityError
from support.objects import put

from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.settings import KeeperSettings
from streams.keeper.orphans import Orphans

NAMES = [f"media/x/{number}" for number in range(3)] + [f"uploads/x/{number}" for number in range(3)]
DUE = "UPDATE sweeps SET began_at = now() - interval '25 hours', position = NULL, lease_until = '-infinity'"
LEASE_ENDS = "UPDATE sweeps SET lease_until = now() - interval '1 second'"


@pytest.fixture
def keeper(worker, store, bucket_of_ours):
    """Makes a keeper's part that walks, as a process does that has just begun."""

    def make(**settings):
        return Orphans(worker, store, KeeperSettings(**settings), Metrics(CollectorRegistry(), process="keeper"))

    return make


@pytest.fixture
async def listed(store, monkeypatch, tmp_path):
    """The keys after which was listed, with pages of two objects each."""
    await put(store, tmp_path, *NAMES)
    real, seen = store.list_page, []

    async def list_page(prefix, after=None):
        seen.append(after)
        return (await real(prefix, after))[:2]

    monkeypatch.setattr(store, "list_page", list_page)
    return seen


@contextmanager
def away_after(store, monkeypatch, key):
    """The store's listing fails when it would go on after this key."""
    real = store.list_page

    async def refuse(prefix, after=None):
        if after == key:
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE)
        return await real(prefix, after)

    with monkeypatch.context() as patched:
        patched.setattr(store, "list_page", refuse)
        yield


async def test_one_of_many_keepers_walks_when_the_last_walk_began_long_ago(worker, seed, keeper, listed):
    await seed.change(worker, "UPDATE sweeps SET began_at = now(), position = NULL, lease_until = '-infinity'")
    assert await keeper().go_on() is None, "the last one began a moment ago"
    await seed.change(worker, DUE)
    swept = await asyncio.gather(*(keeper().go_on() for _ in range(3)))
    assert [one.objects for one in swept if one] == [len(NAMES)]
    assert await keeper().go_on() is None


@pytest.mark.parametrize("broken_off", [NAMES[1], NAMES[4]], ids=["first root", "second root"])
async def test_another_goes_on_where_one_was_broken_off(worker, seed, store, keeper, listed, monkeypatch, broken_off):
    await seed.change(worker, DUE)
    with away_after(store, monkeypatch, broken_off), pytest.raises(MedialaneError):
        await keeper().go_on()
    assert await keeper().go_on() is None, "it may be at it still"
    await seed.change(worker, LEASE_ENDS)
    listed.clear()
    swept = await keeper().go_on()
    assert listed[0] == broken_off
    assert swept.objects == len(NAMES) - NAMES.index(broken_off) - 1
    assert await seed.column(worker, "SELECT position FROM sweeps") == [None]


async def test_an_orphan_that_can_not_be_removed_does_not_stand_before_the_others(
    worker, seed, store, keeper, listed, monkeypatch
):
    real = store.delete

    async def held(key):
        if key == NAMES[0]:
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE)
        await real(key)

    monkeypatch.setattr(store, "delete", held)
    await seed.change(worker, DUE)
    assert (await keeper(orphan_age_s=-3600.0).go_on()).orphans == len(NAMES) - 1
    assert [await store.head(name) is not None for name in NAMES] == [True, *[False] * (len(NAMES) - 1)]


async def test_an_outage_ends_the_walk_at_the_first_orphan_that_meets_it(
    worker, seed, store, keeper, listed, monkeypatch
):
    asked = []

    async def away(*which, **_how):
        asked.extend(which)
        raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE)

    await seed.change(worker, DUE)
    with monkeypatch.context() as patched:
        patched.setattr(store, "delete", away)
        patched.setattr(store, "check", away)
        with pytest.raises(MedialaneError):
            await keeper(orphan_age_s=-3600.0).go_on()
    assert asked == NAMES[:1]
    await seed.change(worker, LEASE_ENDS)
    assert (await keeper(orphan_age_s=-3600.0).go_on()).orphans == len(NAMES)


async def test_what_a_worker_stored_of_a_tenant_that_is_gone_goes(worker, seed, store, keeper, tmp_path):
    gone, tenant = uuid7(), await seed.tenant(worker)
    keys = [
        f"media/{gone}/{'ab' * 32}/thumbnail.v1.webp",
        f"media/{gone}/{'ab' * 32}/hls.v1-0/240p.mp4",
        f"media/{tenant}/abcd/thumbnail.v1.webp",
    ]
    await put(store, tmp_path, *keys)
    await seed.change(worker, DUE)
    await keeper(orphan_age_s=-3600.0).go_on()
    assert [await store.head(key) for key in keys] == [None] * len(keys)
    assert await seed.column(worker, "SELECT count(*) FROM content WHERE tenant_id IN (:g, :t)", g=gone, t=tenant) == [
        0
    ]


async def test_an_orphan_that_the_database_refuses_does_not_stand_before_the_others(
    worker, seed, store, keeper, listed, monkeypatch
):
    real = store.delete

    async def refused(key):
        if key == NAMES[0]:
            raise IntegrityError("INSERT", {}, errors.ForeignKeyViolation("content_tenant_id_fkey"))
        await real(key)

    monkeypatch.setattr(store, "delete", refused)
    await seed.change(worker, DUE)
    assert (await keeper(orphan_age_s=-3600.0).go_on()).orphans == len(NAMES) - 1
