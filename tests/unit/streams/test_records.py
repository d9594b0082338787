import msgspec
import pytest

from schemas.ids import uuid7
from schemas.records import Dispatch
from schemas.states import Stage
from schemas.topics import IMAGE_JOBS, VIDEO_JOBS
from streams.core.ledger import Partition
from streams.dead_letters import Undecodable
from streams.faust_app import Record
from streams.media.records import Foreign, Offer, read

DISPATCH = Dispatch(job_id=uuid7(), tenant_id=uuid7(), asset_id=uuid7(), stage=Stage.IMAGE_PRIMARY, dispatch=3)


def record(value):
    return Record(Partition("media.jobs.image", 0), 7, b"key", value, (), 0.0)


def changed(**fields):
    return msgspec.json.encode(msgspec.to_builtins(DISPATCH) | fields)


def test_a_dispatch_is_offered():
    found = read(record(msgspec.json.encode(DISPATCH)), IMAGE_JOBS.route)
    assert isinstance(found, Offer)
    assert found.dispatch == DISPATCH


def test_fields_of_a_later_release_do_not_matter():
    assert isinstance(read(record(changed(colour="blue")), IMAGE_JOBS.route), Offer)


@pytest.mark.parametrize(
    "value", [changed(v=2), changed(stage="image.hologram"), changed(v=2, dispatch={"new": "shape"})]
)
def test_what_a_newer_release_wrote_is_left_and_not_buried(value):
    assert isinstance(read(record(value), IMAGE_JOBS.route), Foreign)


def test_a_stage_of_the_other_topic_is_left():
    assert isinstance(read(record(msgspec.json.encode(DISPATCH)), VIDEO_JOBS.route), Foreign)


@pytest.mark.parametrize(
    "value",
    [None, b"", b"\x00\xff", b"null", b"[]", b"{}", b"not json", changed(job_id="nobody"), changed(dispatch="x"),
     changed(dispatch=2**31), changed(dispatch=10**30), changed(dispatch=0), b"[" * 100_000, "ü".encode("latin-1")],
    ids=["none", "empty", "bytes", "null", "list", "object", "text", "bad id", "bad number",
         "number of no row", "endless number", "number before the first", "deep", "latin-1"],
)  # fmt: skip
def test_what_is_no_dispatch_is_undecodable_and_says_why(value):
    found = read(record(value), IMAGE_JOBS.route)
    assert isinstance(found, Undecodable)
    assert found.reason
