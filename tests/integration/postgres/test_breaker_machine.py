"""Random histories of a tenant behind a breaker, with twins and little credit, on the real SQL: nobody waits for ever.

Workers do what `streams.media` does: they ask what is chosen, join the bytes, and end, give back or lose their jobs.
"""

import contextlib

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test
from prometheus_client import CollectorRegistry
from support import protocol
from support.machines import SqlMachine

from connectors.postgres.protocol import cancel, jobs
from connectors.postgres.protocol.content import Role
from connectors.postgres.protocol.excess import Excess, send_back
from connectors.postgres.protocol.jobs import FencedError
from connectors.postgres.protocol.replay import replay_asset
from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode
from schemas.settings import BreakerSettings, KeeperSettings
from schemas.states import JobClass, Stage
from streams.keeper.rounds import Rounds

NUMBERS = st.integers(0, 99)
NEVER = BreakerSettings(consecutive=1000, minimum=1000)
# Twins come due before what they wait for: were all due at once, the oldest would go first, which leads as a rule.
DUE = "now() - CASE reason WHEN 'twin' THEN interval '1 s' ELSE interval '0 s' END"


class Held(SqlMachine):
    """Two contents, so that many are twins; the breaker opens when a rule says so, and closes by a probe's good end.

    At first one job runs, and another is tried.
    """

    def __init__(self):
        super().__init__()
        self.made, self.running = {}, []

    @initialize(credits_=st.sampled_from([1, 2, 4]))
    def begin(self, credits_):
        self.connect()
        self.rounds = Rounds(
            self.database, KeeperSettings(lease_s=0.01), Metrics(CollectorRegistry(), process="keeper"), NEVER
        )
        self.tenant = self.run(self.seed.tenant(self.database))
        self.change("UPDATE tenants SET credits = :n WHERE id = :t", n=credits_)
        for content in (1, 1, 2):
            self.make(content)
        self.claim()
        self.trip()
        self.keep()

    def change(self, statement, **values):
        super().change(statement, t=self.tenant, **values)

    def column(self, statement, **values):
        return super().column(statement, t=self.tenant, **values)

    def queued(self):
        """Jobs that are offered, with the numbers of their dispatches."""
        statement = """
            SELECT tenant_id, asset_id, id, dispatch FROM jobs WHERE tenant_id = :t AND state = 'queued' ORDER BY id
        """
        return self.run(self.seed.rows(self.database, statement, t=self.tenant))

    @rule(content=st.sampled_from([1, 2]))
    def make(self, content):
        made = self.run(self.seed.upload(self.database, self.tenant))
        self.made[made.asset_id] = self.tenant.bytes + bytes([content]) * 16

    @precondition(lambda self: self.made)
    @rule(number=NUMBERS, known=st.booleans())
    def claim(self, number=0, known=True):
        """A worker takes a job, and hashes its bytes, unless it is left to a newer release before."""
        queued = self.queued()
        if not queued:
            return
        row = queued[number % len(queued)]
        job = self.transact(
            lambda c: protocol.claim(c, self.seed.Seeded(*row[:3]).dispatch(row.dispatch), lease_s=3600)
        )
        if not known:
            self.transact(lambda c: jobs.wait(c, job, delay_s=0, costs_attempt=False))
            return
        sha256 = self.made[job.asset_id]
        decision = self.transact(lambda c: protocol.join(c, job, sha256))
        if decision.role is Role.DOOMED:
            self.transact(lambda c: protocol.fail(c, job, sha256=sha256, code=decision.code))
        elif decision.role is not Role.TWIN:
            self.running.append((job, sha256))

    def take(self, number):
        return self.running.pop(number % len(self.running))

    def act(self, job, act):
        """As the worker that has the job; only what was stopped meanwhile is fenced."""
        held = "SELECT 1 FROM jobs WHERE tenant_id = :t AND id = :j AND epoch = :e AND state = 'running'"
        stopped = not self.column(held, j=job.job_id, e=job.epoch)
        with pytest.raises(FencedError) if stopped else contextlib.nullcontext():
            self.transact(act)

    @precondition(lambda self: self.running)
    @rule(number=NUMBERS, code=st.sampled_from([ErrorCode.CHILD_DIED, None]))
    def try_later(self, number, code=None):
        """Without a code: it is left to a newer release."""
        job, _ = self.take(number)
        self.act(job, lambda c: jobs.wait(c, job, delay_s=0, costs_attempt=False, code=code))

    @precondition(lambda self: self.running)
    @rule(number=NUMBERS)
    def drain(self, number):
        job, _ = self.take(number)
        self.act(job, lambda c: jobs.release(c, job))

    @precondition(lambda self: self.running)
    @rule(number=NUMBERS)
    def die(self, number):
        job, _ = self.take(number)
        over = "UPDATE jobs SET lease_until = now() - interval '1 s' WHERE tenant_id = :t AND id = :j AND epoch = :e"
        self.change(f"{over} AND state = 'running'", j=job.job_id, e=job.epoch)

    @rule(number=NUMBERS)
    def send_back(self, number):
        """A lane has too many of this tenant: what it offers goes back to its row."""
        queued = self.queued()
        if queued:
            row = queued[number % len(queued)]
            assert self.transact(lambda c: send_back(c, [Excess(row.id, row.dispatch, 0)])) == {row.id}

    @precondition(lambda self: self.running)
    @rule(number=NUMBERS, code=st.sampled_from([ErrorCode.PROCESSING_FAILED, ErrorCode.CORRUPT]))
    def fail(self, number, code):
        job, sha256 = self.take(number)
        self.act(job, lambda c: protocol.fail(c, job, sha256=sha256, code=code))

    @precondition(lambda self: self.running)
    @rule(number=NUMBERS, more=st.booleans())
    def finish(self, number=0, more=False):
        job, sha256 = self.take(number)
        follow = (Stage.IMAGE_AVIF,) if more and job.stage.primary else ()
        self.act(job, lambda c: protocol.finish(c, job, sha256, follow=follow))

    @precondition(lambda self: self.made)
    @rule(number=NUMBERS)
    def cancel(self, number):
        open_ = self.column("SELECT asset_id FROM jobs WHERE tenant_id = :t AND finished_at IS NULL ORDER BY id")
        if open_:
            asset_id = open_[number % len(open_)]
            self.transact(lambda c: cancel.cancel_asset(c, self.tenant, asset_id, actor="t"))

    @rule(number=NUMBERS, kind=st.sampled_from(list(JobClass)))
    def replay(self, number, kind):
        ended = self.column("""
            SELECT id FROM assets WHERE tenant_id = :t AND state IN ('ready', 'failed', 'cancelled') ORDER BY id
        """)
        if ended:
            asset_id = ended[number % len(ended)]
            self.transact(lambda c: replay_asset(c, asset_id, reason="t", job_class=kind))

    @rule()
    def trip(self):
        self.change("""
            INSERT INTO breakers (tenant_id, state, cause, opened_at, retry_at) VALUES (:t, 'open', '', now(), now())
            ON CONFLICT (tenant_id) DO UPDATE SET state = 'open', probe_job_id = NULL, retry_at = now()
            WHERE breakers.state = 'closed'
        """)

    @rule()
    def keep(self):
        self.run(self.rounds.round())

    def run_to_the_end(self):
        """Whatever happened: where time passes, the keeper keeps and workers work, all comes to its end.

        Also where all that runs has to wait first: nobody's end wakes the others.
        """
        while self.running:
            self.try_later(0)
        left = "SELECT concat_ws(' ', state, reason) FROM jobs WHERE tenant_id = :t AND finished_at IS NULL"
        for _ in range(8 * len(self.made) + 8):
            while self.running:
                self.finish()
            if not self.column(left):
                return
            self.change(f"UPDATE jobs SET due_at = {DUE} WHERE tenant_id = :t AND due_at IS NOT NULL")
            self.change("UPDATE jobs SET turn_at = now() WHERE tenant_id = :t AND turn_at > now()")
            self.change("UPDATE breakers SET retry_at = now() WHERE tenant_id = :t")
            self.keep()
            self.claim()
        raise AssertionError(f"stranded: {self.column(left)}")


def test_random_histories_leave_nobody_waiting(database, seed):
    Held.url, Held.seed = database.worker, seed
    run_state_machine_as_test(
        Held,
        settings=settings(
            max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
