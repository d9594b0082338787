"""The simulation against the workers' own lanes, run in simulated time; and its figures."""

import asyncio
import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.credit import goes_at_once, next_to_go
from support.simulated import SimulatedLoop

from connectors.postgres.protocol.credits import AGEING_S
from schemas.states import JobClass
from streams.core.lane import Bounds
from streams.core.ledger import Partition
from streams.core.roundrobin import DeficitRoundRobin, Share, Shares
from streams.lanes import Lanes
from streams.simulation.credit import Credit
from streams.simulation.mix import EXAMPLE, MixError, jobs_of, read_mix
from streams.simulation.model import Job, Setup, Simulation
from streams.simulation.outcome import Span, error, jain, most_at_once, outcome


def in_lanes(jobs, setup):
    """What the workers' own `Lanes` make of jobs that sleep, each claimed at once: (tenant, start, end) by job."""
    seen = {}

    class Handler:
        async def claim(self, payload):
            return payload

        async def run(self, number):
            loop = asyncio.get_running_loop()
            began = loop.time()
            await asyncio.sleep(jobs[number].held_s)
            seen[number] = (began, loop.time())
            return jobs[number].cpu_s

    class Flow:
        def on_buffer_full(self, tp):
            raise AssertionError("the test's window holds everything")

        on_buffer_drop = on_buffer_full

    async def run():
        keys = [Partition("t", number) for number in range(setup.partitions)]
        lanes = Lanes(
            Handler(), Flow, slots=setup.slots, bounds=setup.bounds, queue=lambda: DeficitRoundRobin(setup.shares),
            weight=lambda tenant: setup.shares.of(tenant).weight,
        )  # fmt: skip
        lanes.assign(keys)
        loop, offsets = asyncio.get_running_loop(), dict.fromkeys(keys, 0)
        for number, job in sorted(enumerate(jobs), key=lambda pair: pair[1].made_at):
            if job.made_at > loop.time():
                await asyncio.sleep(job.made_at - loop.time())
            key = keys[job.kpart]
            offsets[key] += 1
            lanes.put(key, offsets[key], job.tenant, number)
        await asyncio.sleep(10_000)

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(run())
    return seen


def setup(**changes):
    values = {
        "partitions": 3, "bounds": Bounds.of(running=2, window=10_000), "credits": {}, "default_credits": 10_000,
        "workers": 1, "slots": 4, "shares": Shares(), "placements": None,
    }  # fmt: skip
    return Setup(**values | changes)


@pytest.mark.parametrize("seed", range(5))
def test_every_job_starts_when_the_workers_own_lanes_would_start_it(seed):
    source = random.Random(seed)
    jobs = [
        # Moments and lengths that never coincide: at a tie either order is right.
        Job(f"t{source.randrange(4)}", source.uniform(0, 40), source.uniform(0.05, 2), source.uniform(0.05, 2),
            kpart=source.randrange(3))
        for _ in range(150)
    ]  # fmt: skip
    shares = Shares()
    shares.replace({"t0": Share(weight=3.0), "t1": Share(cap=1)})
    real = in_lanes(jobs, setup(shares=shares))
    predicted = {jobs.index(run.job): run for run in Simulation(jobs, setup(shares=shares)).run()}
    assert predicted.keys() == real.keys()
    for number, (began, ended) in real.items():
        assert predicted[number].started_at == pytest.approx(began, abs=1e-6)
        assert predicted[number].finished_at == pytest.approx(ended, abs=1e-6)


def spans(runs):
    return [Span(r.job.tenant, r.job.made_at, r.started_at, r.finished_at, r.job.held_s) for r in runs]


def burst(tenant, count, *, kpart=0, at=0.0):
    return [Job(tenant, at + number * 1e-6, 1.0, 1.0, spread=number, kpart=kpart) for number in range(count)]


def test_credits_bound_what_a_tenant_has_dispatched():
    runs = Simulation(burst("a", 20), setup(default_credits=2, slots=8, bounds=Bounds.of(running=8, window=64))).run()
    assert outcome(spans(runs)).most_at_once == 2
    assert [run.started_at for run in runs] == sorted(run.started_at for run in runs)


class _Row(SimpleNamespace):
    @property
    def ripe(self):
        return self.turn_at <= self.clock.now


@given(
    credits_=st.sampled_from([1, 3, 8, 16, 64]),
    acts=st.lists(
        st.one_of(
            st.tuples(st.just("make"), st.sampled_from(list(JobClass))),
            st.tuples(st.just("end"), st.integers(0, 99)),
            st.tuples(st.just("wait"), st.sampled_from([1.0, 600.0, 3600.0])),
        ),
        max_size=120,
    ),
)
def test_credit_goes_to_whom_the_rows_give_it(credits_, acts):
    """The same model holds the SQL, in `tests/integration/postgres/test_credit_machine.py`."""
    credit, rows, clock = Credit(credits_), [], SimpleNamespace(now=0.0)

    def running():
        return [row.job_class for row in rows if row.state == "queued"]

    def let_in():
        while (due := next_to_go(sorted(rows, key=lambda row: (row.turn_at, row.id)), running(), credits_)) is not None:
            assert credit.next(clock.now) == due.id
            due.state = "queued"
        assert credit.next(clock.now) is None

    for act, value in acts:
        clock.now += 0.001
        if act == "make":
            now = goes_at_once(value, running(), credits_)
            rows.append(
                _Row(id=len(rows), state="queued" if now else "waiting", reason="credit", job_class=value, clock=clock,
                     turn_at=clock.now + AGEING_S[value])
            )  # fmt: skip
            assert credit.make(len(rows) - 1, value, clock.now) == now
        elif act == "wait":
            clock.now += value
        elif dispatched := [row for row in rows if row.state == "queued"]:
            ended = dispatched[value % len(dispatched)]
            ended.state = "done"
            credit.leave(ended.job_class)
        let_in()


def reprocessing(count, **changes):
    return [job._replace(job_class=JobClass.BULK, **changes) for job in burst("a", count)]


def test_a_fresh_upload_does_not_wait_behind_what_is_reprocessed():
    wide = setup(default_credits=16, slots=2, bounds=Bounds.of(running=2, window=64))
    runs = Simulation([*reprocessing(200), *burst("a", 5, at=20.5)], wide).run()
    fresh = [run for run in runs if run.job.job_class is JobClass.PRIMARY]
    # Bulk jobs have two of the sixteen credits; the records of five that come later are behind these two alone.
    assert max(run.started_at - run.job.made_at for run in fresh) <= 4
    as_one = Simulation([job._replace(job_class=JobClass.PRIMARY) for job in (run.job for run in runs)], wide).run()
    assert max(run.started_at - run.job.made_at for run in as_one if run.job.made_at > 20) > 50


def test_bulk_jobs_yield_until_their_turn_and_then_get_their_part_whatever_comes():
    narrow = setup(default_credits=8, slots=2, bounds=Bounds.of(running=2, window=64))
    # As many as are done, and twenty in front: there is never credit to spare.
    steady = [*burst("a", 20), *(Job("a", number / 2, 1.0, 1.0) for number in range(10_000))]
    runs = Simulation([*steady, *reprocessing(2, made_at=1.0)], narrow).run()
    began = [run.started_at for run in runs if run.job.job_class is JobClass.BULK]
    turn = 1.0 + AGEING_S[JobClass.BULK]
    assert all(turn <= at < turn + 30 for at in began)


def test_a_window_that_is_full_reads_on_when_it_has_room():
    runs = Simulation(burst("a", 200), setup(bounds=Bounds.of(running=2, window=8))).run()
    assert len(runs) == 200
    assert outcome(spans(runs)).most_at_once == 2


def test_more_workers_and_buckets_help_as_far_as_their_bounds_allow():
    def rate(**changes):
        return outcome(spans(Simulation(burst("a", 120), setup(**changes)).run())).jobs_per_s

    one = rate(placements={"a": (0,)})
    assert one == pytest.approx(2.0, rel=0.05), "one lane, two at once"
    assert rate(placements={"a": (0, 1)}) == pytest.approx(2 * one, rel=0.1)
    assert rate(placements={"a": (0, 1, 2)}) == pytest.approx(2 * one, rel=0.1), "the worker has four slots"
    assert rate(placements={"a": (0, 1, 2)}, workers=3) == pytest.approx(3 * one, rel=0.15)


def test_a_quiet_tenant_is_as_quick_beside_a_hot_one():
    jobs = [*burst("hot", 400), *burst("quiet", 10, at=20.0)]
    fair = Simulation(jobs, setup()).run()
    waits = [run.started_at - run.job.made_at for run in fair if run.job.tenant == "quiet"]
    assert max(waits) <= 10, "its ten jobs take turns with the hot tenant's; in the order of arrival it were hundreds"


def test_the_transport_is_part_of_every_wait():
    (run,) = Simulation(burst("a", 1), setup(transport_s=0.25)).run()
    assert run.started_at == pytest.approx(0.25)


def test_the_figures():
    found = outcome([Span("a", 0, 0, 1, 1), Span("a", 0, 3, 4, 1), Span("b", 0, 1, 2, 1)])
    assert (found.jobs, found.jobs_per_s, found.wait_p50_s, found.wait_p95_s) == (3, 0.75, 1, 3)
    assert found.fairness == pytest.approx(jain([0.625, 0.5]))
    assert (jain([1, 1, 1]), jain([1, 0, 0, 0])) == (1, 0.25)
    assert most_at_once([(0, 2), (1, 3), (2, 4), (5, 5)]) == 2
    assert (error(1.1, 1.0), error(0, 0), error(1, 0)) == (pytest.approx(0.1), 0, float("inf"))
    with pytest.raises(ValueError, match="no jobs"):
        outcome([])


def test_the_example_mix_runs_and_is_repeatable():
    jobs = jobs_of(read_mix(EXAMPLE))
    assert jobs == jobs_of(read_mix(EXAMPLE))
    assert sum(job.tenant == "bulk" for job in jobs) == 2000
    assert 45 < sum(job.tenant == "steady" for job in jobs) < 140


def test_a_tenant_of_a_mix_may_have_jobs_of_several_classes():
    text = EXAMPLE + '\n[[tenants]]\nname = "steady"\nseconds = 2\nburst = 5\nclass = "bulk"\n'
    jobs = jobs_of(read_mix(text))
    assert sum(job.job_class is JobClass.BULK for job in jobs if job.tenant == "steady") == 5
    assert {job.job_class for job in jobs if job.tenant == "bulk"} == {JobClass.PRIMARY}


@pytest.mark.parametrize(
    ("text", "said"),
    [("duration_s = 1", "tenants"), ("tenants = 1", "tenants|duration_s"), ("[", "Invalid|Expected|Unexpected|Cannot|nexpected"),
     ('duration_s = 1\n[[tenants]]\nname = "a"\nseconds = 0', "seconds")],
)  # fmt: skip
def test_a_file_that_is_no_mix_says_why(text, said):
    with pytest.raises(MixError, match=said):
        read_mix(text)
