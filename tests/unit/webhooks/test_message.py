"""What deliveries say."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from schemas.errors import ErrorCode, MedialaneError
from schemas.events import JobDone, encode_event
from schemas.states import Stage
from streams.webhooks.message import age_of, body_of, read_event


def event(**changes):
    fields = {
        "id": uuid4(), "time": datetime(2030, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), "tenant_id": uuid4(), "asset_id": uuid4(),
        "generation": 1, "seq": 4, "job_id": uuid4(), "stage": Stage.IMAGE_PRIMARY, "attempts": 1, "cpu_s": 0.5,
    }  # fmt: skip
    return JobDone(**fields | changes)


def test_the_body_has_the_standard_shape_and_the_older_fields():
    done = event()
    value = encode_event(done)
    body = json.loads(body_of(read_event(value, None)))
    assert body == {
        "type": "job.done",
        "timestamp": "2030-01-02T03:04:05.678000Z",
        "event": "job.done",
        "asset_id": str(done.asset_id),
        "job_id": str(done.job_id),
        "data": json.loads(value),
    }


def test_a_body_tells_how_old_its_event_is():
    made = event()
    body = body_of(read_event(encode_event(made), None)).decode()
    assert age_of(body, made.time + timedelta(minutes=7)) == 420
    assert age_of(body, made.time - timedelta(seconds=1)) == 0, "clocks differ"


def test_the_same_event_gives_the_same_bytes():
    value = encode_event(event())
    assert body_of(read_event(value, "00-a")) == body_of(read_event(value, None))


def test_an_event_type_and_fields_of_a_later_release_are_passed_on():
    later = json.loads(encode_event(event())) | {"type": "asset.archived", "shelf": 7}
    del later["job_id"]
    body = json.loads(body_of(read_event(json.dumps(later).encode(), None)))
    assert (body["type"], body["job_id"], body["data"]["shelf"]) == ("asset.archived", None, 7)


@pytest.mark.parametrize(
    "value", [None, b"", b"null", b"[]", b"{}", b'{"type": "asset.ready"}', b"\xff\xfe", b'{"type": 1', b"\x00" * 10]
)
def test_what_is_no_event_is_said_to_be_undecodable(value):
    with pytest.raises(MedialaneError) as caught:
        read_event(value, None)
    assert caught.value.code is ErrorCode.UNDECODABLE_RECORD
