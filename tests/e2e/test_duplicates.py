"""The same bytes again: nothing is processed twice within a tenant, and nothing is shared between tenants."""

import asyncio

import pytest
from support import e2e

from schemas.profile_sets import ProfileChoice

WEBP = ("thumbnail", "display_small", "display_large")

pytestmark = pytest.mark.stack


def done(actor, asset_id):
    [one] = {one.message_id: one for one in actor.receiver.about(asset_id) if one.event_type == "job.done"}.values()
    return one.payload["data"]


async def test_again_in_the_same_tenant_costs_no_processing(actor, samples):
    content = samples.photos[2].read_bytes()
    first = await actor.ready(await actor.upload("first.jpg", "image/jpeg", content))
    objects = sorted(actor.objects())
    second = await actor.ready(await actor.upload("second.jpg", "image/jpeg", content))
    for asset in (first, second):
        await actor.told(asset.id)
        await actor.finished_once(asset)
    assert (done(actor, first.id)["reused"], done(actor, second.id)["reused"]) == (False, True)
    assert done(actor, first.id)["cpu_s"] > 0
    assert done(actor, second.id)["cpu_s"] == 0
    assert sorted(actor.objects()) == objects
    assert {v.profile: v.sha256 for v in second.variants} == {v.profile: v.sha256 for v in first.variants}


async def test_at_the_same_time_only_one_is_processed(actor, samples):
    content = samples.photos[3].read_bytes()
    ids = await asyncio.gather(*(actor.upload(f"{index}.jpg", "image/jpeg", content) for index in range(4)))
    assets = await asyncio.gather(*(actor.ready(asset_id) for asset_id in ids))
    for asset in assets:
        await actor.told(asset.id)
        await actor.finished_once(asset)
    assert sorted(done(actor, asset.id)["reused"] for asset in assets) == [False, True, True, True]
    assert len(actor.objects()) == 3


async def test_each_gets_what_it_named_whoever_was_first(whole, samples):
    """One after the other: what is there is used again, what is not is made."""
    photo = samples.photos[0].read_bytes()
    names = [["thumbnail"], ["thumbnail", "display_small", "thumbnail_avif"], None]
    async with e2e.actor(whole, profiles=ProfileChoice(include=("webp", "avif"))) as actor:
        made, jobs = [], []
        for index, profiles in enumerate(names):
            asset_id = await actor.client.upload(f"{index}.jpg", "image/jpeg", photo, profiles=profiles)
            asset = await actor.ready(asset_id)
            await actor.finished_once(asset)
            made.append({variant.profile for variant in asset.variants})
            jobs.append([job.stage for job in asset.jobs])
            assert len(actor.objects()) == len(set().union(*made))
        assert jobs == [["image.primary"], ["image.primary", "image.avif"], ["image.primary", "image.avif"]]
        assert made == [set(names[0]), set(names[1]), {*WEBP, *(f"{name}_avif" for name in WEBP)}]


async def test_twins_that_named_others_each_get_theirs(actor, samples):
    photo = samples.photos[1].read_bytes()
    names = [["thumbnail"], ["display_small"], ["display_large", "thumbnail"], None]
    ids = await asyncio.gather(
        *(actor.client.upload(f"{index}.jpg", "image/jpeg", photo, profiles=named) for index, named in enumerate(names))
    )
    for asset_id, named in zip(ids, names, strict=True):
        asset = await actor.ready(asset_id)
        assert {variant.profile for variant in asset.variants} == set(named or WEBP)
        await actor.finished_once(asset)
    assert len(actor.objects()) == 3


async def test_a_video_may_be_wanted_for_its_poster_alone(actor, samples):
    video = samples.video.read_bytes()
    asset = await actor.ready(await actor.client.upload("a.mp4", "video/mp4", video, profiles=["poster"]))
    assert [variant.profile for variant in asset.variants] == ["poster"]
    await actor.finished_once(asset)


async def test_a_second_upload_of_broken_bytes_fails_at_once_with_the_same_code(actor, samples):
    content = samples.photos[0].read_bytes()[:300_000]
    first = await actor.failed(await actor.upload("a.jpg", "image/jpeg", content))
    second = await actor.failed(await actor.upload("b.jpg", "image/jpeg", content))
    assert second.error_code == first.error_code == "truncated"


async def test_another_tenant_shares_nothing(actor, whole, samples):
    content = samples.photos[2].read_bytes()
    await actor.ready(await actor.upload("mine.jpg", "image/jpeg", content))
    before = sorted(actor.objects())
    async with e2e.actor(whole, name="other") as other:
        theirs = await other.ready(await other.upload("theirs.jpg", "image/jpeg", content))
        await other.told(theirs.id)
        assert done(other, theirs.id)["reused"] is False
        assert len(other.objects()) == 3
        assert not set(other.objects()) & set(before)
    assert sorted(actor.objects()) == before
