"""The JSON in columns of tables, which two releases write and read side by side, and the next one finds there.

Additive change only: what was written then is read now, as it was; what is added is nothing to those that do not know it.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from api.assets.service import shown_job
from connectors.postgres.assets.views import JobView
from connectors.postgres.protocol.jobs import ClaimedJob
from processors.contract import StepTiming
from schemas.details import Details, Facts
from schemas.events import Part
from schemas.kept_choices import read_kept, write_kept
from schemas.states import Stage
from streams.media.work import Work

ID = UUID(int=1)
HERO, LOOP = 445826165, 2003018031
ROWS = Path(__file__).parent / "rows"


def golden(name):
    return json.loads((ROWS / f"{name}.json").read_text())


def job_of(report):
    """A job with this report, as the API shows it."""
    about = {
        "id": str(ID), "generation": 1, "stage": "image.primary", "state": "done", "reason": None, "attempts": 0,
        "progress": 100, "created_at": "2026-01-01T00:00:00Z", "started_at": None, "finished_at": None,
    }  # fmt: skip
    return shown_job(msgspec.convert(about | {"report": report}, JobView))


READ = {
    "details": lambda found: msgspec.convert(found, Details),
    "choice": read_kept,
    "report": job_of,
    "parts": lambda found: msgspec.convert(found, tuple[Part, ...]),
}
WRITTEN = {
    "details": lambda read: Facts(width=1, height=1, details=read).columns()["details"],
    "choice": lambda read: write_kept(read.choice),
    "parts": msgspec.to_builtins,
}


def test_every_golden_row_is_read_by_a_test():
    assert {path.stem for path in ROWS.glob("*.json")} == set(READ)


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_golden_rows_are_read_and_written_as_they_were(name):
    old = golden(name)
    assert json.loads(msgspec.json.encode(WRITTEN[name](READ[name](old)))) == old


def test_a_golden_choice_is_known_in_full():
    found = read_kept(golden("choice"))
    assert found.beyond == ()
    assert {p.name: p.version for p in found.profiles if p.name in {"hero", "loop"}} == {"hero": HERO, "loop": LOOP}


def test_a_golden_report_is_shown_and_reports_are_still_like_it():
    old = golden("report")
    shown = job_of(old)
    assert [(step.name, step.started_at.timestamp(), step.seconds) for step in shown.steps] == [
        (step["name"], step["started_at_unix"], step["seconds"]) for step in old["stages"]
    ]
    assert shown.cpu_s == old["cpu_s"]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    job = ClaimedJob(
        job_id=ID, tenant_id=ID, asset_id=ID, generation=1, stage=Stage.IMAGE_PRIMARY, epoch=1, attempts=0, deaths=0,
        traceparent=None, content_sha256=None, object_key="k", etag="e", size=1, content_type="image/jpeg",
        file_name="a.jpg", created_at=now, queued_at=now, claimed_at=now,
    )  # fmt: skip
    nobody = [None] * 6  # who is needed only for work
    assert set(Work(job, *nobody, (), on_outage=None).report()) >= set(old)
    assert {field.name for field in msgspec.structs.fields(StepTiming)} >= set(old["stages"][0])


@pytest.mark.parametrize("name", sorted(READ))
def test_a_row_with_a_field_of_the_future_is_read_as_before(name):
    def grown(found):
        if isinstance(found, list):
            return [grown(one) for one in found]
        steps = {"stages": grown(found["stages"])} if "stages" in found else {}
        return found | steps | {"added_later": {"anything": 1}}

    assert READ[name](grown(golden(name))) == READ[name](golden(name))
