"""Lanes and shares in their tables, what workers make of them, and the commands that write them."""

import json

import psycopg
import pytest
from support import commands

from connectors.postgres.placement import tuning
from schemas.errors import MedialaneError
from schemas.settings import LANE_RUNNING_BOUNDS, LANE_WINDOW_BOUNDS
from streams.core.lane import Bounds
from streams.core.roundrobin import DeficitRoundRobin, Share, Shares
from streams.lanes import Lanes
from streams.tuning import Tuner

OWN = Bounds.of(running=4, window=256)


@pytest.fixture
async def tuned(worker):
    shares = Shares()
    lanes = Lanes(None, lambda: None, slots=4, bounds=OWN, queue=lambda: DeficitRoundRobin(shares))
    lanes.assign([("media.jobs.image", 0)])
    yield lanes, shares, Tuner(worker, lanes, shares, route="jobs.image")
    async with worker.transaction() as connection:
        for topic in ("jobs.image", "jobs.video"):
            await tuning.untune_lanes(connection, topic)


async def change(worker, what, *arguments, **values):
    async with worker.transaction() as connection:
        return await what(connection, *arguments, **values)


async def test_lanes_follow_the_table_and_fall_back_to_the_workers_own(worker, tuned):
    lanes, _, tuner = tuned
    await tuner.look()
    assert lanes.bounds == OWN
    await change(worker, tuning.tune_lanes, "jobs.image", running=2, window=None)
    await change(worker, tuning.tune_lanes, "jobs.video", running=1, window=8)
    await tuner.look()
    assert lanes.bounds == Bounds.of(running=2, window=256)
    await change(worker, tuning.tune_lanes, "jobs.image", running=None, window=64)
    await tuner.look()
    assert lanes.bounds == Bounds.of(running=2, window=64)
    assert lanes.lanes["media.jobs.image", 0].limit == 2
    await change(worker, tuning.untune_lanes, "jobs.image")
    await tuner.look()
    assert lanes.bounds == OWN


async def test_shares_follow_the_table(worker, seed, tuned):
    _, shares, tuner = tuned
    tenant = await seed.tenant(worker)
    await change(worker, tuning.set_share, tenant, weight=2.5, cap=None)
    await tuner.look()
    assert shares.of(str(tenant)) == Share(weight=2.5, cap=0)
    await change(worker, tuning.set_share, tenant, weight=None, cap=3)
    await tuner.look()
    assert shares.of(str(tenant)) == Share(weight=2.5, cap=3)
    await change(worker, tuning.reset_share, tenant)
    await tuner.look()
    assert shares.of(str(tenant)) == Share()


async def test_the_tables_refuse_what_the_code_refuses(worker, database, seed):
    tenant = await seed.tenant(worker)
    for values in ({"running": LANE_RUNNING_BOUNDS[1] + 1}, {"window": LANE_WINDOW_BOUNDS[0] - 1}, {"running": 0}):
        with pytest.raises(MedialaneError, match="is from"):
            await change(worker, tuning.tune_lanes, "jobs.image", **{"running": None, "window": None} | values)
    for values in ({"weight": 0.0}, {"weight": tuning.MOST_WEIGHT + 1}, {"weight": float("nan")}, {"cap": -1}):
        with pytest.raises(MedialaneError):
            await change(worker, tuning.set_share, tenant, **{"weight": None, "cap": None} | values)
    refused = [
        f"INSERT INTO lane_settings (topic, running) VALUES ('x', {LANE_RUNNING_BOUNDS[1] + 1})",
        f"INSERT INTO lane_settings (topic, window_records) VALUES ('x', {LANE_WINDOW_BOUNDS[0] - 1})",
        f"INSERT INTO tenant_shares (tenant_id, weight) VALUES ('{tenant}', {tuning.MOST_WEIGHT + 1})",
        f"INSERT INTO tenant_shares (tenant_id, cap) VALUES ('{tenant}', -1)",
    ]
    for statement in refused:
        with psycopg.connect(database.worker) as connection, pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(statement)


def test_tenants_do_not_see_what_they_may_have(database):
    for table in ("lane_settings", "tenant_shares"):
        with psycopg.connect(database.app) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SELECT * FROM {table}")


def medialane(database, *arguments):
    return commands.medialane({"MEDIALANE_DATABASE_URL": database.worker}, *arguments)


async def test_an_operator_changes_lanes_and_shares(worker, seed, database):
    tenant = await seed.tenant(worker)
    [slug] = await seed.column(worker, "SELECT slug FROM tenants WHERE id = :t", t=tenant)

    ran = medialane(database, "lanes", "set", "jobs.video", "--running", "2")
    assert (ran.returncode, ran.stdout) == (
        0, "jobs.video  running 2  window as each worker is set (256 by default)\n"
    ), ran.stderr  # fmt: skip
    ran = medialane(database, "tenants", "share", slug, "--weight", "3", "--cap", "1")
    assert (ran.returncode, ran.stdout) == (0, f"{slug}  weight 3  cap 1  credits 64\n"), ran.stderr
    shown = json.loads(medialane(database, "lanes", "show", "--json").stdout)
    assert [(lane["topic"], lane["running"], lane["window"]) for lane in shown["lanes"]] == [
        ("jobs.image", None, None), ("jobs.video", 2, None)
    ]  # fmt: skip
    assert (slug, 3.0, 1) in [(share["slug"], share["weight"], share["cap"]) for share in shown["tenants"]]

    assert medialane(database, "lanes", "set", "jobs.video", "--reset").returncode == 0
    ran = medialane(database, "tenants", "share", slug, "--reset")
    assert ran.stdout == f"{slug}  weight 1  cap none  credits 64\n"
    assert "jobs.video  running as each worker is set" in medialane(database, "lanes", "show").stdout


async def test_an_operator_changes_credits_and_is_audited(worker, seed, database):
    tenant = await seed.tenant(worker)
    [slug] = await seed.column(worker, "SELECT slug FROM tenants WHERE id = :t", t=tenant)

    def share(*arguments):
        return medialane(database, "tenants", "share", slug, *arguments).stdout

    assert share("--credits", "256", "--dry-run") == f"would have: {slug}  weight 1  cap none  credits 256\n"
    assert share() == f"{slug}  weight 1  cap none  credits 64\n"
    assert share("--credits", "256") == f"{slug}  weight 1  cap none  credits 256\n"
    assert share("--credits", "256") == f"{slug}  weight 1  cap none  credits 256\n"
    assert share("--reset") == f"{slug}  weight 1  cap none  credits 64\n"
    noted = (
        "SELECT detail->'to'->>'credits' FROM audit_log WHERE tenant_id = :t AND action = 'tenant.share' ORDER BY id"
    )
    assert await seed.column(worker, noted, t=tenant) == ["256", "64"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("lanes", "set", "jobs.video"), 2, "name --running, --window or both"),
        (("lanes", "set", "jobs.video", "--running", "0"), 2, "1<=x<=256"),
        (("lanes", "set", "events", "--running", "1"), 2, "jobs.image"),
        (("tenants", "share", "nobody", "--credits", "1"), 2, "8<=x<=10000"),
        (("tenants", "share", "nobody", "--credits", "9", "--reset"), 2, "--reset stands alone"),
        (("tenants", "share", "nobody", "--cap", "1"), 1, "There is no tenant 'nobody'"),
        (("tenants", "share", "nobody", "--cap", "1", "--reset"), 2, "--reset stands alone"),
    ],
)
def test_an_operator_is_told_what_is_wrong(database, arguments, code, said):
    ran = medialane(database, *arguments)
    assert (ran.returncode, said in ran.stderr) == (code, True), ran.stderr
