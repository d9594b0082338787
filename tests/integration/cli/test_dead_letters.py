"""`medialane dlq`, `reprocess`, `assets` and `breakers`, as an operator uses them, on a real Postgres (and a broker)."""

import asyncio
import json

import pytest
from click.testing import CliRunner
from support import protocol, seed

from cli.main import medialane
from connectors.postgres.accounts.profile_sets import save_choice
from connectors.postgres.assets.variants import NewVariant
from connectors.postgres.database import Database
from connectors.postgres.protocol import cancel
from connectors.postgres.protocol.dead_letters import BadRecord, bury_record
from schemas.errors import ErrorCode
from schemas.ids import uuid7
from schemas.profile_sets import OwnProfile, ProfileChoice, resolve
from schemas.profiles import CATALOGUE
from schemas.settings import DatabaseSettings
from schemas.topics import IMAGE_JOBS


class Operator:
    """Runs commands, and writes and reads rows beside them."""

    def __init__(self, url):
        self.url = url

    def rows(self, work):
        async def run():
            async with Database(DatabaseSettings(url=self.url, pool_size=2), application="test") as database:
                return await work(database)

        return asyncio.run(run())

    def column(self, statement, **values):
        return self.rows(lambda database: seed.column(database, statement, **values))

    def __call__(self, *arguments, code=0):
        ran = CliRunner().invoke(medialane, [str(argument) for argument in arguments])
        assert ran.exit_code == code, (ran.output, ran.exception)
        return ran.stdout

    def slug(self, tenant_id):
        return self.column("SELECT slug FROM tenants WHERE id = :t", t=tenant_id)[0]


@pytest.fixture
def operator(database, monkeypatch):
    monkeypatch.setenv("MEDIALANE_DATABASE_URL", database.worker)
    return Operator(database.worker)


def variant(own):
    profile = next(profile for profile in resolve(ProfileChoice(own=(own,))) if profile.name == own.name)
    return NewVariant(
        profile=profile.name, profile_version=profile.version, content_sha256=bytes(32), object_key="media/a",
        content_type="image/webp", format="webp", width=4, height=3, duration_s=None, size=9, sha256=bytes(32),
    )  # fmt: skip


async def end(database, made, code=None, variants=()):
    sha256 = uuid7().bytes * 2
    async with database.transaction() as connection:
        job = await protocol.claim(connection, made.dispatch())
        if code is not None:
            await protocol.fail(connection, job, code=code)
            return
        await protocol.join(connection, job, sha256)
        await protocol.finish(connection, job, sha256, variants=variants)


@pytest.fixture
def buried(operator):
    """Three dead letters of one tenant: two corrupt, one truncated."""

    async def work(database):
        tenant = await seed.tenant(database)
        made = [await seed.asset(database, tenant) for _ in range(3)]
        for one, code in zip(made, [ErrorCode.CORRUPT, ErrorCode.CORRUPT, ErrorCode.TRUNCATED], strict=True):
            await end(database, one, code)
        return made

    return operator.rows(work)


def test_letters_are_listed_counted_and_shown(operator, buried):
    slug = operator.slug(buried[0].tenant_id)
    assert operator("dlq", "ls", "--tenant", slug).count(slug) == 3
    assert operator("dlq", "ls", "--tenant", slug, "--code", "truncated").count("\n") == 1
    assert operator("dlq", "ls", "--tenant", slug, "--older-than", "1h") == ""
    assert operator("dlq", "ls", "--tenant", slug, "--since", "1h").count("\n") == 3
    assert [line.split()[:3] for line in operator("dlq", "ls", "--tenant", slug, "--summary").splitlines()] == [
        ["2", slug, "corrupt"], ["1", slug, "truncated"],
    ]  # fmt: skip
    found = json.loads(operator("dlq", "ls", "--tenant", slug, "--json"))
    shown = operator("dlq", "show", found[0]["id"])
    assert str(buried[0].asset_id) in shown
    assert json.loads(operator("dlq", "show", found[0]["id"], "--json"))["code"] == "corrupt"


def test_a_replay_says_first_what_it_would_do_and_does_it_once(operator, buried):
    slug = operator.slug(buried[0].tenant_id)
    choice = ("--tenant", slug, "--code", "corrupt")
    assert operator("dlq", "replay", *choice, "--dry-run").endswith("would replay 2 dead letters, 10 a second\n")
    assert operator("dlq", "ls", *choice).count("\n") == 2
    assert operator("dlq", "replay", *choice, "--rate", "100") == "replayed 2, left alone 0\n"
    assert operator("dlq", "replay", *choice) == "replayed 0, left alone 0\n"
    assert operator("dlq", "ls", *choice, "--replayed").count("  replayed\n") == 2
    made = "SELECT state || ' ' || job_class FROM jobs WHERE tenant_id = :t AND generation = 2"
    assert operator.column(made, t=buried[0].tenant_id) == ["queued secondary"] * 2
    audited = "SELECT action FROM audit_log WHERE tenant_id = :t"
    assert operator.column(audited, t=buried[0].tenant_id) == ["dlq.replay"] * 2


def test_an_id_that_is_no_letters_is_named_and_nothing_is_replayed(operator, buried):
    slug, nowhere = operator.slug(buried[0].tenant_id), uuid7()
    letter = json.loads(operator("dlq", "ls", "--tenant", slug, "--json"))[0]["id"]
    ran = CliRunner().invoke(medialane, ["dlq", "replay", letter, str(nowhere)])
    assert ran.exit_code == 1
    assert str(ran.exception).endswith(f"There is no dead letter {nowhere}.")
    assert operator("dlq", "ls", "--tenant", slug).count("\n") == 3
    assert operator("dlq", "replay", letter) == "replayed 1, left alone 0\n"
    assert operator("dlq", "replay", letter) == "replayed 0, left alone 0\n"


def test_an_asset_that_has_moved_on_is_left_alone(operator, buried):
    gone, moved, _ = buried

    async def move(database):
        async with database.transaction() as connection:
            await cancel.delete_asset(connection, gone.tenant_id, gone.asset_id, actor="t")
        await seed.change(database, "UPDATE assets SET generation = 5 WHERE id = :a", a=moved.asset_id)

    operator.rows(move)
    assert operator("dlq", "replay", "--tenant", operator.slug(gone.tenant_id)) == "replayed 1, left alone 2\n"


def test_a_purge_says_first_what_it_would_do(operator, buried):
    slug = operator.slug(buried[0].tenant_id)
    assert "would delete 3 dead letters" in operator("dlq", "purge", "--tenant", slug, "--dry-run")
    assert operator("dlq", "purge", "--tenant", slug, "--older-than", "1h").endswith("deleted 0\n")
    assert operator("dlq", "purge", "--tenant", slug).endswith("deleted 3\n")
    assert operator("dlq", "ls", "--tenant", slug, "--replayed") == ""


@pytest.mark.parametrize(
    "arguments",
    [("replay",), ("purge",), ("replay", "--code", "nonsense"), ("ls", "--since", "yesterday"), ("show", "1")],
)
def test_what_is_meant_must_be_said(operator, arguments):
    operator("dlq", *arguments, code=2)


def test_reprocessing_is_bulk_and_may_be_repeated(operator):
    async def work(database):
        tenant = await seed.tenant(database)
        made = [await seed.asset(database, tenant) for _ in range(3)]
        for one in made:
            await end(database, one)
        return tenant

    tenant = operator.rows(work)
    arguments = ("reprocess", "--profile", "thumbnail", "--since", "1d", "--tenant", operator.slug(tenant))
    assert operator(*arguments, "--dry-run").startswith("would reprocess 3 assets for thumbnail version ")
    assert operator(*arguments, "--limit", "2") == "reprocessing 2 assets, left alone 0\n"
    assert operator(*arguments) == "reprocessing 1 assets, left alone 0\n"
    assert operator(*arguments) == "reprocessing 0 assets, left alone 0\n"
    classes = "SELECT job_class FROM jobs WHERE tenant_id = :t AND generation = 2"
    assert operator.column(classes, t=tenant) == ["bulk"] * 3
    audited = "SELECT (detail->>'assets')::int FROM audit_log WHERE tenant_id = :t AND action = 'reprocess' ORDER BY id"
    assert operator.column(audited, t=tenant) == [2, 1, 0]
    assert operator.column(audited.replace("'reprocess'", "'reprocess.end'"), t=tenant) == [2, 1, 0]


@pytest.mark.parametrize(
    ("default", "profile", "count"),
    [(None, "thumbnail_avif", 1), ("webp", "thumbnail_avif", 0), ("default,jpeg", "thumbnail_jpeg", 1)],
)
def test_a_tenant_that_chose_nothing_lacks_what_the_workers_make_by_default(
    operator, monkeypatch, default, profile, count
):
    async def work(database):
        tenant = await seed.tenant(database)
        await end(database, await seed.asset(database, tenant))
        return tenant

    slug = operator.slug(operator.rows(work))
    if default is not None:
        monkeypatch.setenv("MEDIALANE_PROFILES_DEFAULT", default)
    said = operator("reprocess", "--profile", profile, "--since", "1d", "--tenant", slug, "--dry-run")
    assert said.startswith(f"would reprocess {count} assets ")


def test_a_profile_of_tenants_own_is_made_for_those_who_have_one_each_in_its_own_version(operator):
    name = f"hero_{uuid7().hex[-12:]}"

    own, other = (OwnProfile(name=name, format="webp", fit="width", width=width) for width in (600, 900))

    async def work(database):
        tenants = [await seed.tenant(database) for _ in range(3)]
        for tenant, chosen in zip(tenants, (own, other), strict=False):
            async with database.transaction() as connection:
                await save_choice(connection, tenant, ProfileChoice(own=(chosen,)))
        made = [await seed.asset(database, tenant) for tenant in (*tenants, tenants[0])]
        for one, had in zip(made, (other, None, None, own), strict=True):
            await end(database, one, variants=() if had is None else [variant(had)])
        return tenants

    tenants = operator.rows(work)
    arguments = ("reprocess", "--profile", name, "--since", "1d")
    assert operator(*arguments, "--dry-run") == f"would reprocess 2 assets for {name}\n"
    assert operator(*arguments) == "reprocessing 2 assets, left alone 0\n"
    reopened = "SELECT tenant_id FROM assets WHERE tenant_id = ANY(:t) AND generation = 2 ORDER BY tenant_id"
    assert operator.column(reopened, t=tenants) == sorted(tenants[:2])
    audited = "SELECT detail->'version' FROM audit_log WHERE action = 'reprocess' AND detail->>'profile' = :p"
    assert operator.column(audited, p=name) == [None], "two versions"
    assert operator(*arguments) == "reprocessing 0 assets, left alone 0\n"


def test_a_profile_that_nobody_has_is_refused_with_what_there_is(operator):
    async def work(database):
        tenants = [await seed.tenant(database) for _ in range(2)]
        own = OwnProfile(name="square", format="webp", fit="crop", width=9, height=9)
        async with database.transaction() as connection:
            await save_choice(connection, tenants[0], ProfileChoice(own=(own,)))
        return tenants

    one, other = (operator.slug(tenant) for tenant in operator.rows(work))
    for profile, slug, last in (("nonsense", one, "square"), ("square", other, list(CATALOGUE)[-1])):
        ran = CliRunner().invoke(medialane, ["reprocess", "--profile", profile, "--since", "1d", "--tenant", slug])
        assert ran.exit_code == 2
        assert f"There is no profile {profile!r}; there are thumbnail, " in ran.stderr
        assert ran.stderr.endswith(f", {last}.\n")


def test_a_default_that_is_none_is_said_before_anything_is_looked_for(operator, monkeypatch):
    monkeypatch.setenv("MEDIALANE_PROFILES_DEFAULT", "nonsense")
    ran = CliRunner().invoke(medialane, ["reprocess", "--profile", "thumbnail", "--since", "1d"])
    assert "MEDIALANE_PROFILES_DEFAULT is not valid" in str(ran.exception)


def test_a_reprocessing_that_breaks_off_was_audited(operator, monkeypatch):
    async def work(database):
        tenant = await seed.tenant(database)
        await end(database, await seed.asset(database, tenant))
        return tenant

    async def broken_off(*_, **__):
        raise KeyboardInterrupt

    tenant = operator.rows(work)
    monkeypatch.setattr("cli.reprocess.replay.replay_asset", broken_off)
    arguments = ("--profile", "thumbnail", "--since", "1d", "--tenant", operator.slug(tenant))
    operator("reprocess", *arguments, code=1)
    audited = "SELECT concat_ws(' ', action, detail->>'assets') FROM audit_log WHERE tenant_id = :t"
    assert operator.column(audited, t=tenant) == ["reprocess 1"]


def test_an_asset_is_cancelled_and_deleted(operator):
    async def work(database):
        tenant = await seed.tenant(database)
        return [await seed.asset(database, tenant) for _ in range(2)]

    first, second = operator.rows(work)
    assert operator("assets", "cancel", first.asset_id, "--dry-run").endswith("and end 1 jobs\n")
    assert operator("assets", "cancel", first.asset_id) == "cancelled, 1 jobs ended\n"
    for options in ([], ["--dry-run"]):
        operator("assets", "cancel", first.asset_id, *options, code=1)
    assert operator("assets", "remove", second.asset_id, "--dry-run").endswith("and end 1 jobs\n")
    assert operator("assets", "remove", second.asset_id).endswith("1 jobs ended\n")
    operator("assets", "remove", second.asset_id, code=1)
    states = "SELECT state FROM assets WHERE tenant_id = :t ORDER BY id"
    assert operator.column(states, t=first.tenant_id) == ["cancelled", "deleted"]


def test_breakers_are_opened_shown_and_closed(operator):
    tenant = operator.rows(seed.tenant)
    slug = operator.slug(tenant)
    assert slug not in operator("breakers", "ls")
    operator("breakers", "open", slug, "--why", "abuse")
    (line,) = [line for line in operator("breakers", "ls").splitlines() if line.startswith(slug)]
    assert line == f"{slug}  open  0 jobs wait  until closed by hand  abuse"
    operator("breakers", "close", slug)
    assert slug not in operator("breakers", "ls")
    operator("breakers", "open", "nobody", code=1)


def test_another_record_at_the_offset_of_a_closed_letter_is_a_letter_of_its_own(operator):
    """As after a topic was deleted and made anew."""
    place = {"topic": f"remade-{uuid7()}", "partition": 0, "offset": 0, "detail": "no", "headers": [("a", "b")]}

    async def read(database, value):
        async with database.transaction() as connection:
            await bury_record(connection, BadRecord(key=None, value=value, **place))
        return await seed.column(database, "SELECT id FROM dead_letters WHERE topic = :t", t=place["topic"])

    async def work(database):
        (first,) = await read(database, b"one")
        await seed.change(database, "UPDATE dead_letters SET replayed_at = now() WHERE id = :id", id=first)
        assert await read(database, b"one") == [first], "the same record, read again"
        (second,) = await read(database, b"another")
        return first, second

    first, second = operator.rows(work)
    assert first != second, "whoever replays the first at this moment does not close the second"
    found = "SELECT value FROM dead_letters WHERE id = :id AND replayed_at IS NULL"
    assert operator.column(found, id=second) == [b"another"]


@pytest.mark.stack
def test_what_could_not_be_decoded_is_sent_again_as_it_came(operator, kafka, monkeypatch):
    from confluent_kafka import Consumer, TopicPartition

    from connectors.kafka.options import client_options

    monkeypatch.setenv("MEDIALANE_KAFKA_BROKERS", kafka.brokers)
    topic = IMAGE_JOBS.name(kafka.topic_prefix)
    bad = BadRecord(
        topic=topic, partition=5, offset=7, key=b"k\xff", value=b"\x00not a dispatch", detail="no",
        headers=[("plain", "text"), ("none", None), ("bytes", "base64:/wA="), ("odd", "base64:YmFzZTY0OmFiYw==")],
    )  # fmt: skip

    async def bury(database):
        async with database.transaction() as connection:
            await bury_record(connection, bad)

    operator.rows(bury)
    (letter_id,) = operator.column("SELECT id FROM dead_letters WHERE topic = :t", t=topic)
    assert "not a dispatch" in operator("dlq", "show", letter_id) or "base64" in operator("dlq", "show", letter_id)
    assert operator("dlq", "replay", letter_id) == "replayed 1, left alone 0\n"
    assert operator("dlq", "replay", letter_id) == "replayed 0, left alone 0\n"
    consumer = Consumer({**client_options(kafka), "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 5, 0)])
    try:
        record = consumer.poll(60)
        assert consumer.poll(1) is None
    finally:
        consumer.close()
    assert (record.key(), record.value()) == (b"k\xff", b"\x00not a dispatch")
    headers = [pair for pair in record.headers() if pair[0] != "traceparent"]
    assert headers == [("plain", b"text"), ("none", None), ("bytes", b"\xff\x00"), ("odd", b"base64:abc")]
