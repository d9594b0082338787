"""The Python client on a running API: what it sends is taken, and what it reads is what the API says."""

import hashlib
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from cli.client import (
    ConflictError,
    NotFoundError,
    OwnProfile,
    RefusedError,
    StoreRefusedError,
    UnreachableError,
)

CONTENT = b"\xff\xd8\xff" + b"x" * 97


async def presign(client, **about):
    return await client.presign("a.jpg", "image/jpeg", len(CONTENT), **about)


async def test_uploads_say_what_they_are_about_and_are_found_by_it(client):
    album = await presign(client, metadata={"album": "2026", "by": "me"}, tags=["beach"])
    other = await presign(client, metadata={"album": "2026"}, tags=["hill"])
    now = datetime.now(UTC)

    async def ids(**filters):
        return [item.id for item in (await client.assets(**filters)).items]

    assert await ids() == [other.asset_id, album.asset_id]
    assert await ids(tag="beach") == [album.asset_id]
    assert await ids(metadata={"album": "2026"}) == [other.asset_id, album.asset_id]
    assert await ids(metadata={"album": "2026", "by": "me"}) == [album.asset_id]
    assert await ids(created_from=now + timedelta(hours=1)) == []
    assert len(await ids(created_to=now + timedelta(hours=1), state="pending", kind="image")) == 2
    assert await ids(kind="video") == []
    assert (await client.asset(album.asset_id)).metadata == {"album": "2026", "by": "me"}


async def test_bytes_that_were_promised_are_the_only_ones_taken(client):
    promised = await presign(client, sha256=hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(StoreRefusedError):
        await client.put(promised, CONTENT[::-1], "image/jpeg")
    await client.put(promised, CONTENT, "image/jpeg")


async def test_an_address_that_ended_is_signed_again_and_many_are_completed_at_once(client):
    first, missing = await presign(client), await presign(client)
    again = await client.presign_again(first.asset_id)
    assert again.asset_id == first.asset_id
    await client.put(again, CONTENT, "image/jpeg")
    done, refused = await client.complete_many([first.asset_id, missing.asset_id])
    assert (done.asset_id, done.status) == (first.asset_id, "success")
    assert (refused.status, refused.code) == ("error", "upload_missing")


async def test_an_upload_whose_answer_was_lost_is_repeated_under_its_key(client, monkeypatch):
    put, complete, lost = client.put, client.complete, []

    async def once(*arguments):
        assert not lost, "what is there is sent again"
        await put(*arguments)

    async def lose_answer(asset_id):
        done = await complete(asset_id)
        if not lost:
            lost.append(done)
            raise UnreachableError("no answer")
        return done

    monkeypatch.setattr(client, "put", once)
    monkeypatch.setattr(client, "complete", lose_answer)
    said = {"content_type": "image/jpeg", "content": CONTENT, "idempotency_key": "order-7"}
    with pytest.raises(UnreachableError):
        await client.upload("a.jpg", **said)
    asset_id = await client.upload("a.jpg", **said)
    assert [(item.id, item.state) for item in (await client.assets()).items] == [(asset_id, "uploaded")]
    with pytest.raises(RefusedError, match="idempotency_key_reused"):
        await client.upload("b.jpg", **said)


async def test_a_registration_is_repeated_under_its_key(client):
    said = "https://example.com/hook", ["asset.ready"]
    made = await client.register_webhook(*said, idempotency_key="order-7")
    assert await client.register_webhook(*said, idempotency_key="order-7") == made
    assert await client.webhooks() == [msgspec.structs.replace(made, secret=None)]
    assert (made.enabled, made.disabled_reason) == (True, None)


async def test_a_webhook_is_changed_given_a_new_secret_and_tried(client):
    made = await client.register_webhook("https://example.com/hook", ["asset.ready"], description="orders")
    changed = await client.change_webhook(made.id, url="https://example.org/", events=["*"], enabled=False)
    assert await client.webhook(made.id) == changed
    assert (changed.url, changed.events, changed.enabled, changed.description) == (
        "https://example.org/", ["*"], False, "orders",
    )  # fmt: skip
    with pytest.raises(ConflictError, match="webhook_disabled"):
        await client.test_webhook(made.id)
    await client.change_webhook(made.id, enabled=True)
    assert (await client.test_webhook(made.id)).type == "asset.ready"
    rotated = await client.rotate_webhook_secret(made.id, overlap_s=60, idempotency_key="order-8")
    assert await client.rotate_webhook_secret(made.id, overlap_s=60, idempotency_key="order-8") == rotated
    assert rotated.secret not in {None, made.secret}
    assert rotated.old_secret_until > rotated.created_at


async def test_parts_are_given_up(client):
    begun = await client.begin_parts("a.mp4", "video/mp4", 5 << 20, tags=["film"])
    assert await client.stored_parts(begun.upload_id) == []
    await client.abort_parts(begun.upload_id)
    with pytest.raises(NotFoundError):
        await client.stored_parts(begun.upload_id)


async def test_events_are_read_until_they_end_or_the_reader_does(client):
    asset_id = (await presign(client)).asset_id
    async with aclosing(client.events(asset_id)) as events:
        first = await anext(events)
        assert (first.seq, first.type, first.asset_id) == (1, "asset.created", asset_id)
        assert first.data["file_name"] == "a.jpg"
        await client.delete_asset(asset_id)
        assert (await anext(events)).type == "asset.deleted"
    with pytest.raises(NotFoundError):
        await anext(client.events(asset_id, after=1))


async def test_profiles_are_chosen_and_variants_that_are_not_there_are_not_found(client):
    before = await client.profiles()
    assert before.include == ["default"]
    hero = OwnProfile(name="hero", format="webp", fit="inside", width=1600, height=900)
    after = await client.choose_profiles(["webp"], own=[hero])
    assert (after.include, after.own) == (["webp"], [hero])
    assert {profile.name for profile in after.profiles} >= {"hero", *after.sets["webp"]}
    assert await client.profiles() == after
    with pytest.raises(NotFoundError):
        await client.variant((await presign(client)).asset_id, "hero")
