"""From upload to signed webhook on the real stack: what a client, a receiver and a Kafka consumer see of it."""

import asyncio

import pytest
from support import e2e
from support.e2e import PATIENCE_S

from cli.demo.checks import check_variant
from cli.demo.trace import check_trace, logged_traces
from cli.demo.verdicts import Checks
from cli.harness.measure import measure
from cli.harness.onboarding import medialane
from cli.harness.witness import Witness
from schemas.events import decode_event
from schemas.profile_sets import ProfileChoice
from schemas.records import HEADER_ID, HEADER_SEQ, HEADER_TENANT, HEADER_TYPE
from schemas.states import Stage
from schemas.topics import EVENTS, IMAGE_JOBS, VIDEO_JOBS

pytestmark = pytest.mark.stack

# variant.ready may come before or after its siblings, but always between these.
BEGIN = ["asset.created", "asset.uploaded", "job.starting", "job.started"]
END = ["job.done", "asset.ready"]
FIRST = {
    Stage.IMAGE_PRIMARY: {"thumbnail", "display_small", "display_large"},
    Stage.VIDEO_PRIMARY: {"poster", "video_720p", "preview"},
}


@pytest.mark.parametrize(
    ("pick", "content_type", "stage"),
    [
        (lambda samples: samples.photos[0], "image/jpeg", Stage.IMAGE_PRIMARY),
        (lambda samples: samples.photos[1], "image/jpeg", Stage.IMAGE_PRIMARY),
        (lambda samples: samples.video, "video/mp4", Stage.VIDEO_PRIMARY),
    ],
    ids=["photo", "photo stored upside down", "video"],
)
async def test_every_variant_is_what_its_profile_says(actor, samples, pick, content_type, stage):
    path = pick(samples)
    content = path.read_bytes()
    asset = await actor.ready(await actor.upload(path.name, content_type, content))
    checks, source = Checks(), await measure(content)
    assert {variant.profile for variant in asset.variants} == FIRST[stage]
    for variant in asset.variants:
        files = {variant.profile: await actor.client.download(variant)}
        await check_variant(checks, path.name, variant, files, source)
    assert checks.failures == []
    assert len(actor.objects()) == len(asset.variants) == 3
    await actor.finished_once(asset)


async def test_the_second_stage_follows_a_photo_that_is_ready_already(whole, samples):
    photo = samples.photos[0]
    async with e2e.actor(whole, profiles=ProfileChoice(include=("thumbnail", "avif"))) as actor:
        asset = await actor.ready(await actor.upload("a.jpg", "image/jpeg", photo.read_bytes()))
        events = [f"{event.type} {event.subject}".strip() for event in await actor.told(asset.id)]
        ready = events.index("asset.ready")
        assert events[ready + 1] == "job.starting image.avif"
        assert events[:ready].count("variant.ready thumbnail") == 1
        later = {event for event in events[ready:] if event.startswith("variant.ready")}
        assert later == {f"variant.ready {name}_avif" for name in ("thumbnail", "display_small", "display_large")}
        assert events[-1] == "job.done image.avif"
        assert asset.details is not None
        assert asset.details["thumbhash"]
        await actor.finished_once(asset)


async def test_a_ready_asset_gets_what_its_tenant_has_chosen_since(actor, samples):
    asset = await actor.ready(await actor.upload("a.jpg", "image/jpeg", samples.photos[0].read_bytes()))
    before = {variant.profile: variant.sha256 for variant in asset.variants}
    await actor.client.choose_profiles(["thumbnail", "thumbnail_jpeg", "thumbnail_avif"])
    env = {"MEDIALANE_URL": actor.platform.api_url, "MEDIALANE_API_KEY": actor.tenant.api_key}
    said = await medialane(env, "assets", "process", str(asset.id), "--wait")
    assert said.decode() == f"{asset.id}  ready  a.jpg\n"
    asset = await actor.client.asset(asset.id)
    after = {variant.profile: variant.sha256 for variant in asset.variants}
    assert asset.generation == 2
    assert after.keys() == before.keys() | {"thumbnail_jpeg", "thumbnail_avif"}
    assert before.items() <= after.items()


async def test_events_are_in_order_everywhere_and_every_webhook_verifies(actor, samples):
    topics = [actor.platform.topic(topic) for topic in (EVENTS, IMAGE_JOBS, VIDEO_JOBS)]
    with Witness(actor.platform.kafka, topics) as witness:
        presigned = await actor.client.presign("a.jpg", "image/jpeg", samples.photos[0].stat().st_size)
        await actor.client.put(presigned, samples.photos[0], "image/jpeg")
        completed = await actor.client.complete(presigned.asset_id)
        await actor.ready(presigned.asset_id)
        events = await actor.told(presigned.asset_id)
        outbox = await actor.ledger.outbox(presigned.asset_id)
        ids = {str(row.id) for row in outbox}
        assert await asyncio.to_thread(
            witness.wait_for, lambda seen: ids <= {record.header(HEADER_ID) for record in seen}, PATIENCE_S
        )

        types = [event.type for event in events]
        assert types[:4] == BEGIN
        assert types[-2:] == END
        assert set(types[4:-2]) == {"variant.ready"}

        mine = [r for r in witness.records if r.topic == topics[0] and r.header(HEADER_TENANT) == str(actor.tenant.id)]
        assert [record.header(HEADER_TYPE) for record in mine] == types
        assert [int(record.header(HEADER_SEQ)) for record in mine] == list(range(1, len(types) + 1))
        assert len({record.partition for record in mine}) == 1
        assert [decode_event(record.value).event_type for record in mine] == types

        received = actor.receiver.about(presigned.asset_id)
        assert sorted(one.event_type for one in received) == sorted(types)
        assert {one.message_id for one in received} == {record.header(HEADER_ID) for record in mine}
        for one in received:
            one.verify(actor.secret)

        checks = Checks()
        check_trace(
            checks,
            "photo",
            completed.traceparent,
            outbox=outbox,
            witness=witness,
            logged=logged_traces(actor.platform.logs, "media-images"),
            received=received,
        )
        assert checks.failures == []


async def test_completing_again_and_twice_at_once_changes_nothing(actor, samples):
    presigned = await actor.client.presign("a.jpg", "image/jpeg", samples.photos[0].stat().st_size)
    await actor.client.put(presigned, samples.photos[0], "image/jpeg")
    answers = await asyncio.gather(*(actor.client.complete(presigned.asset_id) for _ in range(8)))
    assert len({answer.message for answer in answers}) == 1
    asset = await actor.ready(presigned.asset_id)
    again = await actor.client.complete(presigned.asset_id)
    assert again.message == answers[0].message
    await actor.finished_once(asset)
    assert len(await actor.ledger.jobs(presigned.asset_id)) == 1


async def test_listing_shows_every_asset_once_over_its_pages(actor, samples):
    made = [(await actor.client.presign(f"{index}.jpg", "image/jpeg", 10)).asset_id for index in range(5)]
    found, cursor = [], None
    while True:
        page = await actor.client.assets(limit=2, cursor=cursor)
        found += [asset.id for asset in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == made[::-1]
