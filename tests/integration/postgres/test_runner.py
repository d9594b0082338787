"""The worker's runner on real rows, with a child and a store that the test makes up: how a job goes from claim to end."""

import asyncio
import errno
import hashlib
import json
import threading
import time
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from connectors.postgres.database import Database
from connectors.postgres.protocol import keeper
from connectors.telemetry.metrics import Metrics
from connectors.telemetry.tracing import Tracing
from processors import removal, temp
from processors.contract import Cost, MediaError, ProcessingReport, StepTiming
from processors.temp import TempFolders
from schemas.errors import READER, ErrorCode, MedialaneError
from schemas.settings import DatabaseSettings, WorkerSettings
from streams.bucket import ForeignBucketError
from streams.media.execution import MediaJobRunner
from streams.media.gate import StoreGate
from streams.media.leases import Leases

BASE_S, CAP_S = 3600.0, 10_000.0


class Child:
    """Fails as often as it is told to, then has nothing to make."""

    def __init__(self):
        self.failures = []
        self.names = ()  # of its steps, each of 10 ms from when it was asked
        self.steps = ()
        self.busy, self.free = asyncio.Event(), asyncio.Event()  # it has begun; it may end
        self.free.set()

    async def process(self, stage, source, folder, profiles, *, on_rendition, on_progress):
        self.asked = time.time()
        self.busy.set()
        await self.free.wait()
        if self.failures:
            raise self.failures.pop()
        await asyncio.sleep(0.02)
        steps = self.steps or tuple(StepTiming(name, self.asked, 0.01) for name in self.names)
        cost = {"cpu_s": 0.5, "max_rss_mb": 1.0, "steps": steps}
        return [], ProcessingReport(kind="image", format="JPEG", width=1, height=1, duration_s=None, **cost)


class Store:
    gone = False  # every object
    away = None  # what asking for the bucket raises
    bytes = None  # of every object; None: each holds its own key

    async def check(self, *, patient=False):
        if self.away:
            raise self.away

    async def download(self, key, path, *, if_match, version_id):
        if self.gone:
            raise MedialaneError(ErrorCode.SOURCE_MISSING)
        found = self.bytes or key.encode()
        path.write_bytes(found)
        return hashlib.sha256(found).hexdigest()


class Forgetful(Database):
    """The real one, which is away for some transactions, and does not answer some commits that it made."""

    away = lose = 0

    @asynccontextmanager
    async def transaction(self):
        if self.away:
            self.away -= 1
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)
        async with super().transaction() as connection:
            yield connection
        if self.lose:
            self.lose -= 1
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)


class Scene:
    def __init__(self, database, job, seed, folders):
        self.database = database
        self.job = job
        self.seed = seed
        self.folders = folders
        self.child = Child()
        self.spans = InMemorySpanExporter()
        self.runner = self.another("this one")

    def another(self, owner):
        metrics, self.store = Metrics(CollectorRegistry(), process="media-images"), Store()
        self.leases = Leases(self.database, lease_s=10, heartbeat_s=3)
        return MediaJobRunner(
            database=self.database, store=self.store, pool=self.child, leases=self.leases,
            settings=WorkerSettings(retry_base_s=BASE_S, retry_cap_s=CAP_S), owner=owner, folders=self.folders,
            tracing=Tracing("test", exporter=self.spans), metrics=metrics, gate=StoreGate(self.store, metrics),
        )  # fmt: skip

    async def row(self):
        statement = "SELECT concat_ws(' ', state, attempts, deaths, error_code) FROM jobs WHERE id = :j"
        return await self.one(statement)

    async def one(self, statement):
        (found,) = await self.seed.column(self.database, statement, j=self.job.job_id)
        return found

    async def attempt(self, number):
        job = await self.runner.claim(self.job.dispatch(number), None)
        await self.runner.run(job)

    async def due(self):
        """Let its time come; returns for how long it would have waited, in seconds."""
        pause = await self.one("SELECT extract(epoch FROM due_at - now())::float8 FROM jobs WHERE id = :j")
        await self.seed.change(self.database, "UPDATE jobs SET due_at = now() WHERE id = :j", j=self.job.job_id)
        async with self.database.transaction() as connection:
            assert await keeper.emit_due(connection, batch=10) == 1
        return pause


@pytest.fixture
async def scene(database, seed, seeded, tmp_path):
    folders = TempFolders(tmp_path)
    async with Forgetful(DatabaseSettings(url=database.worker), application="test") as opened:
        yield Scene(opened, seeded, seed, folders)
    folders.close()


def died():
    return MediaError(ErrorCode.CHILD_DIED, cost=Cost(cpu_s=1.0, max_rss_mb=1.0))


async def test_a_folder_that_cannot_be_made_costs_nothing_and_leaves_no_row_to_its_lease(scene, monkeypatch):
    """A disk without an inode left, say: three deaths would end the job for good."""

    def refused(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("processors.temp.tempfile.mkdtemp", refused)
    await scene.attempt(1)
    assert await scene.row() == "waiting 0 0 no_temp_space"
    monkeypatch.undo()
    assert await scene.due() < 10
    await scene.attempt(2)
    assert (await scene.row()).startswith("done 0 0")


@pytest.mark.parametrize("times", [1, 4])
async def test_a_job_whose_child_dies_is_tried_again_after_growing_pauses(scene, times):
    scene.child.failures = [died() for _ in range(times)]
    for failed in range(times):
        await scene.attempt(failed + 1)
        assert await scene.row() == f"waiting {failed + 1} 0 child_died"
        longest = min(BASE_S * 2**failed, CAP_S)
        assert longest / 4 < await scene.due() <= longest
    await scene.attempt(times + 1)
    assert (await scene.row()).startswith(f"done {times} 0")


async def test_a_job_that_goes_well_costs_three_transactions(scene):
    begun = []
    sa.event.listen(scene.database.engine.sync_engine, "begin", begun.append)
    await scene.attempt(1)
    assert await scene.row() == "done 0 0"
    assert len(begun) == 3 + 1, "claimed, joined with its content, ended; and the look at its row"


@pytest.mark.parametrize(
    ("own", "row"), [({"watermark": "logo"}, "waiting 0 0"), ({}, "done 0 0")], ids=["beyond", "known"]
)
async def test_a_job_whose_tenant_wants_what_only_a_newer_release_makes_is_left_to_it(scene, own, row):
    hero = {"name": "hero", "format": "webp", "fit": "width", "width": 9} | own
    choice = {"include": ["jxl"], "own": [hero], "renditions": 2}  # none of these names is known here
    await scene.seed.change(
        scene.database, "INSERT INTO profile_sets (tenant_id, choice) VALUES (:t, CAST(:choice AS json))",
        t=scene.job.tenant_id, choice=json.dumps(choice),
    )  # fmt: skip
    scene.store.bytes = b"of both"
    await scene.attempt(1)
    assert await scene.row() == row
    assert ("process" in {span.name for span in scene.spans.get_finished_spans()}) == (row == "done 0 0")
    if own:
        assert 0 < await scene.due() < 60
        await scene.attempt(2)
        assert await scene.row() == row
    scene.job = await scene.seed.asset(scene.database, scene.job.tenant_id)
    known = "UPDATE assets SET profiles = '{thumbnail}' WHERE id = :a"
    await scene.seed.change(scene.database, known, a=scene.job.asset_id)
    await scene.attempt(1)
    assert await scene.row() == "done 0 0", "the same bytes wait for nobody"


async def test_a_leader_that_turned_out_to_ask_for_more_than_is_known_holds_up_no_twin(scene):
    """It joined its bytes before its tenant chose."""
    scene.store.bytes = b"of both"
    scene.child.failures = [died()]
    await scene.attempt(1)
    await scene.seed.change(scene.database, "UPDATE jobs SET error_code = NULL WHERE id = :j", j=scene.job.job_id)
    scene.job = await scene.seed.asset(scene.database, scene.job.tenant_id)
    await scene.attempt(1)
    assert await scene.row() == "done 0 0"


async def test_bytes_that_failed_for_a_newer_release_fail_here_under_its_code(scene):
    await scene.seed.change(
        scene.database, """
        INSERT INTO content (tenant_id, sha256, state, leader_job_id, reader, error_code, error_detail)
        SELECT tenant_id, sha256(CAST(object_key AS bytea)), 'failed', id, :reader, 'of_a_later_release', 'No.'
        FROM assets WHERE id = :a
        """, a=scene.job.asset_id, reader=READER + 1,
    )  # fmt: skip
    await scene.attempt(1)
    assert await scene.row() == "failed 1 0 of_a_later_release"
    assert (
        await scene.one("SELECT code || ' ' || detail FROM dead_letters WHERE job_id = :j") == "of_a_later_release No."
    )


async def test_a_job_whose_child_dies_five_times_is_given_up_with_one_dead_letter(scene):
    scene.child.failures = [died() for _ in range(5)]
    for failed in range(4):
        await scene.attempt(failed + 1)
        await scene.due()
    await scene.attempt(5)
    assert (await scene.row()).startswith("failed")
    assert (await scene.row()).endswith("child_died")
    assert await scene.one("SELECT count(*) FROM dead_letters WHERE job_id = :j") == 1


@pytest.mark.parametrize(("stage", "row"), [("video.primary", "failed 2 0"), ("image.primary", "waiting 2 0")])
async def test_a_video_that_had_all_its_time_has_it_once_more_and_a_picture_as_often_as_any(scene, stage, row):
    renamed = "UPDATE jobs SET stage = :s WHERE id = :j"
    await scene.seed.change(scene.database, renamed, s=stage, j=scene.job.job_id)
    scene.child.failures = [MediaError(ErrorCode.PROCESSING_TIMEOUT) for _ in range(2)]
    await scene.attempt(1)
    assert await scene.row() == "waiting 1 0 processing_timeout"
    await scene.due()
    await scene.attempt(2)
    assert await scene.row() == f"{row} processing_timeout"


async def test_a_defect_of_ours_costs_an_attempt(scene):
    scene.child.failures = [KeyError("a defect")]
    await scene.attempt(1)
    assert await scene.row() == "waiting 1 0 processing_failed"


async def test_a_dependency_that_is_away_costs_none(scene):
    scene.child.failures = [MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)]
    await scene.attempt(1)
    assert await scene.row() == "waiting 0 0 database_unavailable"


async def test_what_cannot_succeed_is_not_tried_again(scene):
    scene.child.failures = [MediaError(ErrorCode.CORRUPT)]
    await scene.attempt(1)
    assert (await scene.row()).startswith("failed")


async def test_a_source_that_is_gone_ends_its_job_unless_it_is_the_bucket_that_is_another(scene):
    scene.store.gone, scene.store.away = True, ForeignBucketError("it bears no mark")
    await scene.attempt(1)
    assert await scene.row() == "waiting 0 0 object_store_unavailable"
    with pytest.raises(MedialaneError) as caught:
        await scene.runner.claim(scene.job.dispatch(2), None)
    assert caught.value.code is ErrorCode.OBJECT_STORE_UNAVAILABLE, "nothing more is claimed"

    await scene.due()
    scene.runner = scene.another("one that has the right bucket")
    scene.store.gone = True
    await scene.attempt(2)
    assert await scene.row() == "failed 1 0 source_missing"


async def unanswered(scene):
    """A claim whose commit is made, if it has anything to claim, and not answered."""
    scene.database.lose = 1
    with pytest.raises(MedialaneError):
        await scene.runner.claim(scene.job.dispatch(), None)
    assert await scene.row() == "running 0 0"


async def at_work(scene):
    """The task that runs the job, whose child has begun and ends when it may."""
    scene.child.free.clear()
    work = asyncio.create_task(scene.runner.run(await scene.runner.claim(scene.job.dispatch(), None)))
    await scene.child.busy.wait()
    return work


async def test_a_claim_whose_commit_was_not_answered_is_taken_over_by_the_process_that_made_it(scene):
    record = scene.job.dispatch()
    for _ in range(2):
        await unanswered(scene)
    job = await scene.runner.claim(record, None)
    assert job.job_id == scene.job.job_id
    assert await scene.runner.claim(record, None) is None, "it is held now: a repeat of its record"
    await scene.runner.run(job)
    assert (await scene.row()).startswith("done 0 0")
    assert await scene.one("SELECT count(*) FROM asset_events WHERE asset_id = (SELECT asset_id FROM jobs "
                           "WHERE id = :j) AND type = 'job.started'") == 1  # fmt: skip


async def test_nobody_takes_over_what_it_did_not_claim(scene):
    record = scene.job.dispatch()
    other = scene.another("another one")
    assert await other.claim(record, None) is not None
    await unanswered(scene)
    assert await scene.runner.claim(record, None) is None


async def test_a_repeat_that_was_answered_ends_the_doubt_about_the_first(scene):
    """The record came twice: the first claim failed before it began, the second one got the job."""
    record = scene.job.dispatch()
    scene.database.away = 1
    with pytest.raises(MedialaneError):
        await scene.runner.claim(record, None)
    assert await scene.runner.claim(record, None) is not None
    assert await scene.runner.claim(record, None) is None
    assert await scene.one("SELECT epoch FROM jobs WHERE id = :j") == 1


async def test_a_repeat_that_was_not_answered_takes_no_job_from_this_very_process(scene):
    """The keeper sends a dispatch twice; the second record is claimed while the first one's job runs."""
    record = scene.job.dispatch()
    work = await at_work(scene)
    await unanswered(scene)
    assert await scene.runner.claim(record, None) is None
    scene.child.free.set()
    await work
    assert (await scene.row()).startswith("done 0 0")
    assert await scene.one("SELECT epoch FROM jobs WHERE id = :j") == 1


async def test_a_claim_without_an_answer_whose_record_comes_no_more_is_given_back(scene):
    """Its partition was revoked, or the process ends: whoever reads the record next finds the row taken."""
    await unanswered(scene)
    scene.database.away = 1
    await scene.runner.give_back_unanswered()
    assert await scene.row() == "running 0 0"
    await scene.runner.give_back_unanswered()
    assert await scene.row() == "queued 0 0"
    other = scene.another("another one")
    assert await other.claim(scene.job.dispatch(), None) is None, "that dispatch is over"
    assert await other.claim(scene.job.dispatch(2), None) is not None
    await scene.runner.give_back_unanswered()
    assert await scene.row() == "running 0 0"


async def test_what_was_claimed_after_all_is_not_given_back(scene):
    """By the record's own second try, or by its repeat, whose job is at work."""
    await unanswered(scene)
    work = await at_work(scene)
    await unanswered(scene)
    await scene.runner.give_back_unanswered()
    scene.child.free.set()
    await work
    assert (await scene.row()).startswith("done 0 0")
    await scene.runner.give_back_unanswered()
    assert not scene.runner._unanswered, "nothing is remembered for ever"


@pytest.mark.parametrize("meanwhile", ["heartbeat", "drain"])
async def test_a_job_that_is_done_stays_so_while_its_folder_is_removed(scene, monkeypatch, meanwhile):
    begun, go_on, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def remove(folder):
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(60)
        return removal.remove(folder)

    monkeypatch.setattr(temp, "remove", remove)
    work = asyncio.create_task(scene.runner.run(await scene.runner.claim(scene.job.dispatch(), None)))
    await begun.wait()
    try:
        if meanwhile == "heartbeat":
            await scene.leases.beat()
            go_on.set()
        else:
            work.cancel()
        assert await work == 0.5
    finally:
        go_on.set()


def of(spans, name):
    (found,) = [span for span in spans if span.name == name]
    return found


async def traced(scene):
    """The spans below a job's own, by name, once that and the claim's are known to continue the upload's trace."""
    upload = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await scene.seed.change(
        scene.database, "UPDATE jobs SET traceparent = :t WHERE id = :j", t=upload, j=scene.job.job_id
    )
    job = await scene.runner.claim(scene.job.dispatch(), upload)
    await scene.runner.run(job)
    spans = scene.spans.get_finished_spans()
    whole = of(spans, "job image.primary")
    below = [span for span in spans if span.parent and span.parent.span_id == whole.context.span_id]
    for span in (whole, of(spans, "claim")):
        assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" in upload
    (link,) = whole.links
    assert f"{link.context.span_id:016x}" in upload
    assert {whole, of(spans, "claim"), *below} == set(spans), "there are no others"
    assert all(span.context.trace_id == whole.context.trace_id for span in spans)
    return {span.name: span for span in below}


async def test_every_step_of_a_job_is_a_span_below_its_own(scene):
    scene.child.names = ("sniff", "decode", "thumbnail")
    spans = await traced(scene)
    assert sorted(spans) == ["decode", "dedup", "download", "process", "sniff", "thumbnail", "upload"]
    for name in scene.child.names:
        assert spans[name].start_time == int(scene.child.asked * 1e9)
        assert spans[name].end_time - spans[name].start_time == pytest.approx(1e7, rel=0.01)


async def test_the_steps_of_a_child_that_failed_are_spans_too(scene):
    steps = (StepTiming("decode", time.time(), 0.1),)
    scene.child.failures = [MediaError(ErrorCode.CORRUPT, cost=Cost(cpu_s=0.1, max_rss_mb=1.0, steps=steps))]
    spans = await traced(scene)
    assert sorted(spans) == ["decode", "dedup", "download", "process"]


@pytest.mark.parametrize("word", [0.0, 1e300, -1e300])
async def test_a_step_lies_within_the_time_in_which_the_child_was_asked(scene, word):
    scene.child.steps = (StepTiming("decode", word, word),)
    spans = await traced(scene)
    step, process = spans["decode"], spans["process"]
    assert process.start_time - 5e6 <= step.start_time <= step.end_time <= process.end_time + 1e9
