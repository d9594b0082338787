"""Variant rows: what is added, what replaces an older generation's, and what an asset has then."""

import psycopg
from msgspec.structs import replace

from connectors.postgres.assets.variants import Addition, NewVariant, add_variants, of_content, readable
from schemas.events import Part
from schemas.profiles import CATALOGUE

THUMBNAIL = CATALOGUE["thumbnail"]
SHA, OTHER = bytes(range(32)), bytes(32)


def variant(profile, **changes):
    made = NewVariant(
        profile=profile, profile_version=1, content_sha256=SHA, object_key=f"media/{profile}", content_type="image/webp",
        format="webp", width=4, height=3, duration_s=None, size=9, sha256=SHA,
    )  # fmt: skip
    return replace(made, **changes)


async def add(database, *additions):
    async with database.transaction() as connection:
        return await add_variants(connection, additions)


async def stored(database, seeded, *profiles):
    async with database.transaction() as connection:
        return await readable(connection, seeded.tenant_id, seeded.asset_id, profiles)


def of(seeded, generation, *variants):
    return Addition(seeded.tenant_id, seeded.asset_id, generation, variants)


async def test_what_is_written_is_read_as_it_was(worker, seeded):
    parts = (Part("a.m4s", "video/iso.segment", 7, SHA.hex()), Part('b "c".m4s', "video/iso.segment", 8, OTHER.hex()))
    plain, full = variant("plain"), variant("full", duration_s=1.25, size=2**40, sha256=OTHER, parts=parts)
    await add(worker, of(seeded, 1, plain, full))
    assert {found.profile: found for found in await stored(worker, seeded, "plain", "full")} == {
        "plain": plain, "full": full,
    }  # fmt: skip


async def test_a_new_generation_replaces_what_it_makes_anew_and_the_rest_stays(worker, seeded):
    await add(worker, of(seeded, 1, variant("kept"), variant("made anew", size=1)))
    found = await add(worker, of(seeded, 2, variant("made anew", size=2), variant("new")))
    sizes = {(one.profile, one.size) for one in found[seeded.asset_id]}
    assert sizes == {("kept", 9), ("made anew", 2), ("new", 9)}
    assert len(found[seeded.asset_id]) == 3
    assert [one.size for one in await stored(worker, seeded, "made anew")] == [2]


async def test_statements_that_are_prepared_survive_a_new_column(worker, seeded, database):
    async def use():
        await add(worker, of(seeded, 1, variant("plain"), variant("thumbnail")))
        async with worker.transaction() as connection:
            assert await of_content(connection, seeded.tenant_id, SHA, [THUMBNAIL])
        return await stored(worker, seeded, "plain")

    before = [await use() for _ in range(10)][-1]  # by now psycopg has prepared them
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("ALTER TABLE variants ADD COLUMN later text")
        try:
            assert await use() == before
        finally:
            owner.execute("ALTER TABLE variants DROP COLUMN later")


async def test_assets_are_told_apart_and_one_to_which_nothing_is_added_is_told_what_it_has(worker, seed):
    tenant_id = await seed.tenant(worker)
    one, other, bare = [await seed.upload(worker, tenant_id) for _ in range(3)]
    await add(worker, of(one, 1, variant("first")))
    found = await add(worker, of(one, 1), of(other, 1, variant("second"), variant("third")), of(bare, 1))
    names = {asset_id: {one.profile for one in variants} for asset_id, variants in found.items()}
    assert names == {one.asset_id: {"first"}, other.asset_id: {"second", "third"}}


async def test_of_what_was_made_of_bytes_each_wanted_profile_is_found_once_in_its_version(worker, seed):
    tenant_id = await seed.tenant(worker)
    made = [await seed.upload(worker, tenant_id) for _ in range(3)]
    small = CATALOGUE["display_small"]
    for one in made:
        await add(
            worker, of(one, 1, variant("thumbnail"), variant("display_small", profile_version=7), variant("zoom"))
        )

    async def found(*wanted, sha256=SHA):
        async with worker.transaction() as connection:
            rows = await of_content(connection, tenant_id, sha256, wanted)
        return sorted((one.profile, one.profile_version) for one in rows)

    assert await found(THUMBNAIL, small) == [("thumbnail", 1)]
    assert await found(replace(small, version=7), THUMBNAIL) == [("display_small", 7), ("thumbnail", 1)]
    assert await found(replace(THUMBNAIL, version=2)) == await found(THUMBNAIL, sha256=OTHER) == await found() == []
