"""Random histories of a tenant's jobs on the real SQL, held against `support.credit`: bounds, order, nobody stuck."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support import protocol
from support.credit import dispatched, goes_at_once, may_go, next_to_go
from support.machines import SqlMachine

from connectors.postgres.protocol import cancel, jobs, keeper
from connectors.postgres.protocol import credits as credit
from schemas.states import JobClass, Stage

ROWS = """
    SELECT id, state, coalesce(reason, '') AS reason, job_class, turn_at, turn_at <= clock_timestamp() AS ripe
    FROM jobs WHERE tenant_id = :t ORDER BY turn_at, id
"""


class Credits(SqlMachine):
    def __init__(self):
        super().__init__()
        self.made, self.credits = [], 8

    @initialize(credits_=st.sampled_from([1, 3, 8, 16]))
    def begin(self, credits_):
        self.connect()
        self.tenant = self.run(self.seed.tenant(self.database))
        self.set_credits(credits_)

    def rows(self):
        return self.run(self.seed.rows(self.database, ROWS, t=self.tenant))

    def set_credits(self, credits_):
        self.change("UPDATE tenants SET credits = :n WHERE id = :t", n=credits_, t=self.tenant)
        self.credits = credits_

    def some(self, state, number):
        found = [row.id for row in self.rows() if row.state == state]
        return found[number % len(found)] if found else None

    def expect(self, before, leaving, act):
        """Run something by which `leaving` gives up its credit; exactly the model's next one must go."""
        others = [row for row in before if row.id != leaving]
        due = next_to_go(others, dispatched(others), self.credits)
        self.transact(act)
        waiting = {row.id for row in before if row.state == "waiting" and row.reason == "credit"}
        went = {row.id for row in self.rows() if row.state == "queued"} & waiting
        assert went == ({due.id} if due else set())

    @rule(kind=st.sampled_from(list(JobClass)))
    def make(self, kind):
        before = self.rows()
        made = self.run(self.seed.asset(self.database, self.tenant))
        self.change("DELETE FROM jobs WHERE id = :j", j=made.job_id)
        queued = self.transact(
            lambda c: credit.make_jobs(
                c,
                self.tenant,
                [
                    credit.NewJob(
                        id=made.job_id,
                        asset_id=made.asset_id,
                        generation=1,
                        stage=Stage.IMAGE_PRIMARY,
                        traceparent=None,
                        job_class=kind,
                    )
                ],
            )
        )
        self.made.append(made)
        assert queued == goes_at_once(kind, dispatched(before), self.credits)

    def claim(self, number):
        job_id = self.some("queued", number)
        if job_id is None:
            return None
        made = next(one for one in self.made if one.job_id == job_id)
        return self.run(self.seed.claim(self.database, made))

    @precondition(lambda self: self.made)
    @rule(number=st.integers(0, 99), delay_s=st.sampled_from([0, 3600]))
    def try_later(self, number, delay_s):
        job = self.claim(number)
        if job is not None:
            values = {"delay_s": delay_s, "costs_attempt": True}
            self.expect(self.rows(), job.job_id, lambda c: jobs.wait(c, job, **values))

    @precondition(lambda self: self.made)
    @rule(number=st.integers(0, 99))
    def end(self, number):
        job = self.claim(number)
        if job is not None:
            self.expect(self.rows(), job.job_id, lambda c: protocol.fail(c, job))

    def give_up(self, job):
        self.transact(lambda c: protocol.fail(c, job))

    @precondition(lambda self: self.made)
    @rule(number=st.integers(0, 99))
    def drain(self, number):
        before, job = self.rows(), self.claim(number)
        if job is not None:
            self.transact(lambda c: jobs.release(c, job))
            assert sorted(dispatched(self.rows())) == sorted(dispatched(before)), "given back is not given up"

    @precondition(lambda self: self.made)
    @rule(number=st.integers(0, 99))
    def cancel(self, number):
        job_id = self.some("queued", number)
        if job_id is not None:
            made = next(one for one in self.made if one.job_id == job_id)
            act = lambda c: cancel.cancel_asset(c, self.tenant, made.asset_id, actor="t")  # noqa: E731
            self.expect(self.rows(), job_id, act)

    @precondition(lambda self: self.made)
    @rule(number=st.integers(0, 99))
    def age(self, number):
        waiting = [row.id for row in self.rows() if row.state == "waiting"]
        if waiting:
            statement = "UPDATE jobs SET turn_at = now() - interval '1 s' WHERE id = :j"
            self.change(statement, j=waiting[number % len(waiting)])

    @rule(credits_=st.sampled_from([1, 3, 8, 16]))
    def change_credits(self, credits_):
        self.set_credits(credits_)

    @rule()
    def come_due(self):
        before = self.rows()
        self.transact(lambda c: keeper.emit_due(c, batch=100))
        after = {row.id: row for row in self.rows()}
        for row in before:
            if row.reason == "retry" and after[row.id].state == "queued":
                assert may_go(row, dispatched(before), self.credits)
        assert len(dispatched(after.values())) <= max(self.credits, len(dispatched(before)))

    @rule()
    def mend(self):
        """The keeper, round after round: it ends where the model does, whichever way it goes there."""
        model = self.rows()
        taken, expected = dispatched(model), set()
        while (head := next_to_go(model, taken, self.credits)) is not None:
            expected.add(head.id)
            model, taken = [row for row in model if row.id != head.id], [*taken, head.job_class]
        waiting = {row.id for row in self.rows() if row.reason == "credit"}
        while self.transact(lambda c: credit.mend(c, batch=100)):
            pass
        assert {row.id for row in self.rows() if row.state == "queued"} & waiting == expected

    @invariant()
    def every_dispatch_is_in_the_outbox(self):
        if self.made:
            statement = """
                SELECT count(*) FROM jobs j WHERE tenant_id = :t AND state IN ('queued', 'running') AND NOT EXISTS (
                    SELECT FROM outbox o WHERE o.aggregateid = j.id::text AND o.type = 'job.dispatch'
                        AND (o.payload::json->>'dispatch')::int = j.dispatch)
            """
            assert self.column(statement, t=self.tenant) == [0]

    def run_to_the_end(self):
        """Whatever happened, working and mending on leaves nobody waiting."""
        statement = "UPDATE jobs SET due_at = now() WHERE tenant_id = :t AND reason = 'retry'"
        self.change(statement, t=self.tenant)
        for _ in range(3 * len(self.made) + 3):
            self.transact(lambda c: keeper.emit_due(c, batch=100))
            self.transact(lambda c: credit.mend(c, batch=100))
            for row in self.rows():
                if row.state == "running":
                    release = "UPDATE jobs SET state = 'failed', lease_until = NULL, finished_at = now() WHERE id = :j"
                    self.change(release, j=row.id)
            job = self.claim(0)
            if job is not None:
                self.give_up(job)
        assert {row.state for row in self.rows()} <= {"failed", "cancelled"}


def test_random_histories_agree_with_the_model(database, seed):
    Credits.url, Credits.seed = database.worker, seed
    run_state_machine_as_test(
        Credits,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
