"""What platform teams turn and look at while jobs run: a tenant's cap, the partitions, and the simulator's error."""

import asyncio
import json
import math

import pytest
from click.testing import CliRunner
from support import e2e
from support.hurry import FIRST

from cli.main import medialane
from schemas.topics import IMAGE_JOBS
from streams.simulation.outcome import Outcome

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
PARTITION = 3


@pytest.fixture
def command(crew):
    """Runs `medialane` as operators do; returns what it printed."""
    env = crew.stack.process_env("keeper")

    def run(*arguments):
        ran = CliRunner().invoke(medialane, [str(one) for one in arguments], env=env)
        assert ran.exit_code == 0, (ran.output, ran.exception)
        return ran.stdout

    async def in_a_thread(*arguments):
        return await asyncio.to_thread(run, *arguments)

    return in_a_thread


@pytest.fixture
async def neighbours(crew, command):
    """Two tenants whose image jobs share a partition, and so a lane: (capped, other)."""
    async with e2e.actor(crew.stack, name="capped") as capped, e2e.actor(crew.stack, name="other") as other:
        for one in (capped, other):
            await command("partitions", "move", one.tenant.slug, "--topic", IMAGE_JOBS.route, "--to", PARTITION)
        yield capped, other


async def state_of(actor, assets):
    """How many of the assets' jobs are in each state."""
    states = [job.state for asset in assets for job in await actor.ledger.jobs(asset)]
    return {state: states.count(state) for state in set(states)}


async def shown(command):
    """The partition's line of `partitions show`."""
    views = json.loads(await command("partitions", "show", "--topic", IMAGE_JOBS.route, "--json"))
    return next(view for view in views if view["partition"] == PARTITION)


async def shows(command, **figures):
    """Whether `partitions show` has these figures."""
    view = await shown(command)
    return {name: view[name] for name in figures} == figures


async def test_a_capped_tenant_runs_one_job_at_a_time_and_its_neighbour_goes_on(neighbours, command, held, samples):
    capped, other = neighbours
    log = capped.platform.logs / f"{FIRST}.log"
    before = log.read_text().count("shares changed")
    await command("tenants", "share", capped.tenant.slug, "--cap", 1)

    async def read():
        return log.read_text().count("shares changed") > before

    await e2e.eventually(read, "the worker has read the cap")
    photos = [held() for _ in range(4)]
    assets = [await capped.upload("a.jpg", "image/jpeg", photo.content) for photo in photos]

    async def runs(number):
        async def so_many():
            return (await state_of(capped, assets)).get("running", 0) == number

        await e2e.eventually(so_many, f"{number} of its jobs run")

    async def begun(number):
        # A job runs from its claim on, and reaches its child a moment later.
        async def so_many():
            return sum(photo.runs for photo in photos) == number

        await e2e.eventually(so_many, f"{number} of its jobs have begun")

    await runs(1)
    await begun(1)
    for number in range(2):
        content = samples.photos[number].read_bytes() + b"of the neighbour"
        await other.finished_once(await other.ready(await other.upload("b.jpg", "image/jpeg", content)))
        assert await state_of(capped, assets) == {"running": 1, "queued": 3}
    assert sum(photo.runs for photo in photos) == 1

    # Open is all behind the oldest record without an outcome: its three that wait, and the neighbour's two.
    await e2e.eventually(lambda: shows(command, running=1, queued=3, open_records=5), "`partitions show` has them")
    view = await shown(command)
    assert view["waiting"] == 0
    assert view["head_age_s"] > 0
    assert {capped.tenant.slug, other.tenant.slug} <= set(view["tenants"])
    assert view["shares"][other.tenant.slug] > 0
    assert view["cpu_s"] > 0

    [first] = [photo for photo in photos if photo.runs]
    first.let_go(1)

    await begun(2)
    await runs(1)
    assert await state_of(capped, assets) == {"done": 1, "running": 1, "queued": 2}

    await command("tenants", "share", capped.tenant.slug, "--cap", 2)
    await runs(2)
    await begun(3)
    for photo in photos:
        photo.let_go(1)
    for asset in assets:
        await capped.finished_once(await capped.ready(asset))

    nothing = {"running": 0, "queued": 0, "open_records": 0, "head_age_s": 0}
    await e2e.eventually(lambda: shows(command, **nothing), "nothing is open any more")
    view = await shown(command)
    assert math.isclose(sum(view["shares"].values()), 1, abs_tol=0.01)
    spans = sorted([(job.started_at, 1) for asset in assets for job in await capped.ledger.jobs(asset)]
                   + [(job.finished_at, -1) for asset in assets for job in await capped.ledger.jobs(asset)])  # fmt: skip
    at_once = [sum(step for _, step in spans[: number + 1]) for number in range(len(spans))]
    assert max(at_once) == 2, "never more than its cap, which was two at the end"


async def test_the_simulator_predicts_what_has_just_run_and_says_how_far_off_it_is(neighbours, command, samples):
    for actor in neighbours:
        contents = [samples.photos[number].read_bytes() + actor.tenant.slug.encode() for number in range(3)]
        for asset in [await actor.upload("a.jpg", "image/jpeg", content) for content in contents]:
            await actor.ready(asset)
    simulate = ("partitions", "simulate", "--check", "--topic", IMAGE_JOBS.route)
    recorded, predicted, off = json.loads(await command(*simulate, "--json"))
    assert (recorded["what"], predicted["what"], off["what"]) == ("recorded", "predicted", "error")
    assert recorded["jobs"] == predicted["jobs"] >= 6
    assert off["jobs"] == 0
    for name in Outcome.__struct_fields__:
        assert recorded[name] >= 0
        assert predicted[name] >= 0
        assert off[name] is None or off[name] >= 0  # none: it was nothing, and was predicted to be something
    assert 0 < recorded["fairness"] <= 1
    assert 0 < predicted["fairness"] <= 1
    said = await command(*simulate)
    for word in ("jobs/s", "wait p95 s", "fairness", "recorded", "predicted", "error"):
        assert word in said
    print(said)
