"""Random lives of a job on the real SQL, held against the model: two workers, lost and repeated dispatches, crashes.

The model (`tests/unit/protocol`) is walked exhaustively there; here the same steps run as the product's transactions.
"""

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
from support.machines import SqlMachine

from connectors.postgres.protocol import breakers, cancel, jobs, keeper, replay
from connectors.postgres.protocol import credits as credit
from connectors.postgres.protocol.jobs import FencedError
from schemas.errors import MedialaneError
from schemas.states import JobClass

WORKERS = st.sampled_from([0, 1])
MAX_DEATHS = 3
TERMINAL = ("done", "failed", "cancelled")


class Life(SqlMachine):
    """The model's half: what state, dispatch and epoch the row must have. The other half is Postgres."""

    def __init__(self):
        super().__init__()
        self.state, self.dispatch, self.epoch, self.deaths = "queued", 1, 0, 0
        self.lease_valid = False
        self.held = [None, None]
        self.owner = None
        self.reason, self.broken, self.deleted, self.former, self.generation = "", False, False, [], 1
        self.ends = []

    @initialize()
    def begin(self):
        self.connect()
        self.job = self.run(self.seed.asset(self.database, self.run(self.seed.tenant(self.database))))

    def holds(self, worker):
        held = self.held[worker]
        return self.state == "running" and (held.job_id, held.epoch) == (self.job.job_id, self.epoch)

    def attempt(self, worker, act, **then):
        """Act as a worker; the model says whether the fence must let it through."""
        job, through = self.held[worker], self.holds(worker)
        self.held[worker] = None
        try:
            self.transact(lambda connection: act(connection, job))
        except FencedError:
            assert not through, "the fence stopped the rightful owner"
        else:
            assert through, "the fence let a zombie through"
            for name, value in then.items():
                setattr(self, name, value)

    @rule(worker=WORKERS, number=st.integers(1, 6), former=st.booleans(), answered=st.booleans())
    def deliver(self, worker, number, former=False, answered=True):
        """A record of any age, of the present job or of one of a former generation."""
        if self.held[worker] is not None:
            return
        record = (self.former[-1] if former and self.former else self.job).dispatch(number)
        job = self.transact(lambda c: protocol.claim(c, record, owner=f"w{worker}", lease_s=3600))
        expected = self.state == "queued" and number == self.dispatch and record.job_id == self.job.job_id
        assert (job is not None) == expected
        if job is not None:
            self.state, self.owner = "running", worker
            self.take(worker, job if answered else None)

    @rule(worker=WORKERS, number=st.integers(1, 6))
    def adopt(self, worker, number):
        """A worker looks whether a claim of its own has left the job behind; whatever it has of it is fenced then."""
        offered = jobs.Offered(self.job.dispatch(number))
        job = self.transact(lambda c: jobs.adopt(c, offered, owner=f"w{worker}", lease_s=3600))
        expected = self.state == "running" and number == self.dispatch and worker == self.owner
        assert (job is not None) == expected
        if job is not None:
            self.take(worker, job)

    def take(self, worker, job):
        self.epoch, self.lease_valid, self.held[worker] = self.epoch + 1, True, job
        if job is not None:
            assert job.epoch == self.epoch
            sha = self.job.job_id.bytes * 2
            self.transact(lambda c: protocol.join(c, job, sha))

    @precondition(lambda self: any(self.held))
    @rule(worker=WORKERS)
    def crash(self, worker):
        self.held[worker] = None

    @precondition(lambda self: any(self.held))
    @rule(worker=WORKERS)
    def heartbeat(self, worker):
        job = self.held[worker]
        if job is None:
            return
        alive = self.transact(lambda c: jobs.heartbeat(c, [(job.job_id, job.epoch)], lease_s=3600))
        assert bool(alive) == self.holds(worker)
        if alive:
            self.lease_valid = True
        else:
            self.held[worker] = None

    @precondition(lambda self: any(self.held))
    @rule(worker=WORKERS)
    def finish(self, worker):
        if self.held[worker] is None:
            return
        sha256 = self.job.job_id.bytes * 2
        self.attempt(worker, lambda c, job: protocol.finish(c, job, sha256), state="done")

    @precondition(lambda self: any(self.held))
    @rule(worker=WORKERS)
    def permanent(self, worker):
        if self.held[worker] is None:
            return
        self.attempt(worker, protocol.fail, state="failed")

    @precondition(lambda self: any(self.held))
    @rule(worker=WORKERS)
    def transient(self, worker):
        if self.held[worker] is None:
            return
        values = {"delay_s": 0, "costs_attempt": True}
        self.attempt(worker, lambda c, job: jobs.wait(c, job, **values), state="waiting", reason="retry")

    @precondition(lambda self: any(self.held))
    @rule(worker=WORKERS)
    def drain(self, worker):
        if self.held[worker] is None:
            return
        self.attempt(worker, jobs.release, state="queued", dispatch=self.dispatch + 1)

    @precondition(lambda self: self.state == "running")
    @rule()
    def expire(self):
        statement = "UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = :j AND state = 'running'"
        self.change(statement, j=self.job.job_id)
        self.lease_valid = False

    @rule()
    def keep(self):
        """A whole round of the keeper."""
        due = self.transact(lambda c: keeper.emit_due(c, batch=10))
        is_due = self.state == "waiting" and self.reason == "retry"
        assert due == is_due
        if is_due and self.broken:
            self.reason, due = "breaker", 0
        expired = self.transact(lambda c: keeper.emit_expired(c, batch=10, max_deaths=MAX_DEATHS, lease_s=0))
        gone = self.state == "running" and not self.lease_valid
        assert expired == (gone and self.deaths + 1 < MAX_DEATHS)
        if expired:
            self.deaths += 1
        if due or expired:
            self.state, self.dispatch, self.reason = "queued", self.dispatch + 1, ""
        lost = self.transact(lambda c: keeper.lost_jobs(c, batch=10, max_deaths=MAX_DEATHS, lease_s=0))
        assert len(lost) == (gone and not expired)
        if lost:
            self.transact(lambda c: keeper.bury_lost(c, lost[0]))
            self.state, self.epoch, self.deaths = "failed", self.epoch + 1, self.deaths + 1

    @rule()
    def hold_back(self):
        """The tenant's breaker opens: what is queued goes back to its row, what runs goes on."""
        self.transact(lambda c: breakers.set_breaker(c, self.job.tenant_id, held=True, actor="t"))
        assert self.transact(lambda c: breakers.park(c, batch=10)) == (self.state == "queued")
        self.broken = True
        if self.state == "queued":
            self.state, self.reason = "waiting", "breaker"

    @precondition(lambda self: self.broken)
    @rule()
    def let_go(self):
        self.transact(lambda c: breakers.set_breaker(c, self.job.tenant_id, held=False, actor="t"))
        held = self.state == "waiting" and self.reason == "breaker"
        assert self.transact(lambda c: breakers.let_go(c, batch=10)) == held
        assert self.transact(lambda c: credit.mend(c, batch=10)) == held
        self.broken = False
        if held:
            self.state, self.dispatch, self.reason = "queued", self.dispatch + 1, ""

    @rule(act=st.sampled_from([cancel.cancel_asset, cancel.delete_asset]))
    def stop(self, act):
        over, deletes = self.state in TERMINAL, act is cancel.delete_asset
        permitted = not self.deleted and (deletes or not over)
        try:
            self.transact(lambda c: act(c, self.job.tenant_id, self.job.asset_id, actor="t"))
        except MedialaneError:
            assert not permitted
            return
        assert permitted
        self.deleted = deletes
        if not over:
            self.state, self.epoch, self.reason = "cancelled", self.epoch + 1, ""

    @rule()
    def replay(self):
        permitted = self.state in TERMINAL and not self.deleted
        try:
            job_id = self.transact(
                lambda c: replay.replay_asset(c, self.job.asset_id, reason="t", job_class=JobClass.PRIMARY)
            )
        except MedialaneError:
            assert not permitted
            return
        assert permitted
        self.former.append(self.job)
        self.ends.append(self.state)
        self.job, self.generation = self.job._replace(job_id=job_id), self.generation + 1
        self.epoch = self.deaths = 0
        self.state, self.reason, self.dispatch = ("waiting", "breaker", 0) if self.broken else ("queued", "", 1)

    @rule()
    def emit_slow_record_again(self):
        statement = "UPDATE jobs SET next_emit_at = now() WHERE id = :j AND state = 'queued'"
        self.change(statement, j=self.job.job_id)
        assert self.transact(lambda c: keeper.emit_unclaimed(c, batch=10)) == (self.state == "queued")

    @invariant()
    def row_is_as_the_model_says(self):
        if not hasattr(self, "job"):
            return
        statement = "SELECT concat_ws(' ', state, dispatch, epoch, deaths) FROM jobs WHERE id = :j"
        (row,) = self.column(statement, j=self.job.job_id)
        assert row == f"{self.state} {self.dispatch} {self.epoch} {self.deaths}"
        statement = "SELECT state FROM jobs WHERE asset_id = :a ORDER BY generation"
        states = self.column(statement, a=self.job.asset_id)
        assert states == [*self.ends, self.state], "a former generation stays as it ended"

    def run_to_the_end(self):
        """From wherever the run stopped an end must be within reach; each generation ended once, with its events."""
        if self.broken:
            self.let_go()
        for _ in range(4 * MAX_DEATHS):
            if self.state in TERMINAL:
                break
            self.held = [None, None]
            if self.state == "running":
                self.expire()
            self.keep()
            self.deliver(0, self.dispatch)
            self.finish(0)
        assert self.state in TERMINAL
        words = {
            "done": "asset.ready",
            "failed": "asset.failed",
            "cancelled": "asset.cancelled",
            "deleted": "asset.deleted",
        }
        for generation, end in enumerate([*self.ends, self.state], start=1):
            statement = "SELECT type FROM asset_events WHERE asset_id = :a AND generation = :g ORDER BY seq"
            types = self.column(statement, a=self.job.asset_id, g=generation)
            last = generation == self.generation
            told = [kind for kind in types if kind in words.values()]
            if last and self.deleted:
                assert told in (["asset.deleted"], [words[end], "asset.deleted"])
            else:
                assert told == [words[end]]
            assert types.count("job.started") <= 1


def test_random_lives_agree_with_the_model(database, seed):
    Life.url, Life.seed = database.worker, seed
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
