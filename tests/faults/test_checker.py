"""The checker itself: it passes what is right, finds each thing that is wrong, and shares no code with the product."""

import ast
import base64
import dataclasses
import gc
import hashlib
import hmac
import sys
from pathlib import Path

import pytest
from checker.evidence import Evidence, Record, Request
from checker.figures import longest_stall, p95, repeats, table
from checker.rules import DOUBLE, LOST, WRONG, judge

FOLDER = Path(__file__).parent / "checker"
ALLOWED = {"psycopg", "confluent_kafka", "boto3", "checker"}
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
TYPES = ("asset.uploaded", "variant.ready", "asset.ready")


def test_it_imports_nothing_of_the_product():
    gc.collect()  # what other tests left must not be finalised inside `ast.parse`: CPython 3.11 does not bear that
    files = sorted(FOLDER.rglob("*.py"))
    assert len(files) >= 4
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.name}: a relative import may lead anywhere"
                names = [node.module]
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"__import__", "exec", "eval", "importlib.import_module"}, f"{path.name}: {called}"
            for name in names:
                top = name.partition(".")[0]
                assert top in ALLOWED or top in sys.stdlib_module_names, f"{path.name} imports {name}"


def request(identity, body, *, at=20.0, status=200):
    signed = f"{identity}.1700000000.".encode() + body
    key = b"k" * 32
    headers = {
        "webhook-id": identity,
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode(),
        "x-webhook-signature": "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest(),
    }
    return Request("/0/all", headers, body, at, status)


def record(offset, row, **change):
    headers = {"ce_id": row["id"], "ce_type": row["type"], "ce_seq": str(row["seq"])}
    return Record("media.events", 3, offset, 10.0 + offset, headers | change, f"body of {row['id']}".encode())


@pytest.fixture
def good():
    """One asset that became ready, and one that failed."""
    found = Evidence(
        {
            "uploads": [
                {"asset_id": "a", "tenant_id": "t", "kind": "photo", "expected": "ready"},
                {"asset_id": "b", "tenant_id": "t", "kind": "cut", "expected": "failed"},
            ],
            "endpoints": [{"tenant_id": "t", "path": "/0/all", "events": [*TYPES, "asset.failed"], "secret": SECRET}],
            "faults": [{"kind": "kill worker", "began": 11.0, "ended": 18.0, "takeovers": [4.0]}],
            "began": 10.0,
            "ended": 30.0,
        }
    )
    events = [("a", seq, kind, "x") for seq, kind in enumerate(TYPES, 1)]
    events += [("b", 1, "asset.uploaded", "x"), ("b", 2, "asset.failed", "x")]
    found.rows = {
        "assets": [
            {"id": "a", "tenant_id": "t", "state": "ready", "generation": 1, "event_seq": 3},
            {"id": "b", "tenant_id": "t", "state": "failed", "generation": 1, "event_seq": 2},
        ],
        "jobs": [
            {"id": f"job-{asset}", "asset_id": asset, "stage": "image.primary", "generation": 1, "state": state,
             "epoch": 1, "finished": at}
            for asset, state, at in (("a", "done", 12.0), ("b", "failed", 17.0))
        ],
        "events": [
            {"id": f"{asset}{seq}", "asset_id": asset, "tenant_id": "t", "seq": seq, "generation": 1, "type": kind, "subject": subject}
            for asset, seq, kind, subject in events
        ],
        "variants": [
            {"asset_id": "a", "generation": 1, "profile": "thumbnail", "object_key": "media/t/1", "size": 5, "sha256": "s",
             "parts": [{"name": "2", "sha256": "p"}]}
        ],
        "dead_letters": [{"id": "d", "job_id": "job-b", "asset_id": "b", "code": "truncated"}],
    }  # fmt: skip
    found.records = {
        "events": [record(offset, row) for offset, row in enumerate(found.rows["events"])],
        "jobs.image": [Record("media.jobs.image", 1, 7, 10.0, {}, b"dispatch 1")],
        "jobs.video": [],
        "jobs.dlq": [Record("media.jobs.dlq", 0, 0, 17.0, {"ce_id": "d"}, b'{"job_id": "job-b"}')],
    }
    found.requests = [request(row["id"], b"{}") for row in found.rows["events"]]
    found.versions = [{"key": f"media/t/{n}", "version": "v1", "size": 5, "deleted": False} for n in (1, 2)]
    found.hashes = {"media/t/1": "s", "media/t/2": "p"}
    return found


def test_what_is_right_passes(good):
    assert judge(good, 2) == []


def test_too_few_jobs_prove_nothing(good):
    [violation] = judge(good, 500)
    assert "only 2 jobs" in violation.what


def test_repeats_are_no_violation(good):
    good.records["events"].append(record(90, good.rows["events"][0]))
    good.requests.append(request("a1", b"{}", at=21.0))
    good.requests.append(request("a2", b"{}", at=19.0, status=500))
    assert judge(good, 2) == []
    assert len(repeats(good)) == 3


def lose_an_end(found):
    found.rows["assets"][0]["state"] = "processing"


def end_otherwise(found):
    found.manifest["uploads"][1]["expected"] = "ready"


def leave_a_job(found):
    found.rows["jobs"][0]["state"] = "queued"


def make_a_second_job(found):
    found.rows["jobs"].append(found.rows["jobs"][0] | {"id": "other"})


def have_no_job(found):
    found.rows["jobs"] = [row for row in found.rows["jobs"] if row["asset_id"] != "a"]


def skip_a_number(found):
    found.rows["assets"][0]["event_seq"] = 4


def repeat_a_fact(found):
    row = found.rows["events"][1] | {"id": "a4", "seq": 4}
    found.rows["events"].append(row)
    found.rows["assets"][0]["event_seq"] = 4
    found.records["events"].append(record(91, row))
    found.requests.append(request("a4", b"{}"))


def tell_no_end(found):
    found.rows["events"][2]["type"] = "asset.other"
    found.records["events"][2] = record(2, found.rows["events"][2])


def lose_an_event(found):
    del found.records["events"][1]


def tell_in_two_ways(found):
    found.records["events"].append(dataclasses.replace(found.records["events"][0], offset=99, value=b"else"))


def tell_what_never_was(found):
    found.records["events"].append(record(99, {"id": "z", "type": "asset.ready", "seq": 1}))


def tell_out_of_order(found):
    events = found.records["events"]
    events[0], events[1] = (
        dataclasses.replace(events[0], offset=1),
        dataclasses.replace(events[1], offset=0),
    )


def move_an_asset(found):
    found.records["events"][2] = dataclasses.replace(found.records["events"][2], partition=4)


def write_twice(found):
    found.versions.append({"key": "media/t/1", "version": "v2", "size": 5, "deleted": False})


def lose_an_object(found):
    found.versions, found.hashes = [], {}


def spoil_an_object(found):
    found.hashes["media/t/1"] = "other"


def leave_an_object(found):
    found.versions.append({"key": "media/t/3", "version": "v1", "size": 5, "deleted": False})
    found.hashes["media/t/3"] = "x"


def lose_a_part(found):
    del found.versions[1], found.hashes["media/t/2"]


def spoil_a_part(found):
    found.hashes["media/t/2"] = "other"


def lose_a_webhook(found):
    del found.requests[2]


def answer_no_webhook(found):
    found.requests[2] = dataclasses.replace(found.requests[2], status=500)


def forge_a_webhook(found):
    found.requests[2] = dataclasses.replace(found.requests[2], body=b"{ }")


def send_another_body(found):
    found.requests.append(request("a1", b"[]"))


def bury_nothing(found):
    found.rows["dead_letters"], found.records["jobs.dlq"] = [], []


def bury_twice(found):
    found.rows["dead_letters"].append(found.rows["dead_letters"][0] | {"id": "e"})
    found.records["jobs.dlq"].append(dataclasses.replace(found.records["jobs.dlq"][0], headers={"ce_id": "e"}))


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (lose_an_end, LOST), (end_otherwise, WRONG), (leave_a_job, LOST), (make_a_second_job, DOUBLE),
        (have_no_job, LOST), (skip_a_number, LOST), (repeat_a_fact, DOUBLE), (tell_no_end, LOST),
        (lose_an_event, LOST), (tell_in_two_ways, DOUBLE), (tell_what_never_was, WRONG), (tell_out_of_order, WRONG),
        (move_an_asset, WRONG), (write_twice, DOUBLE), (lose_an_object, LOST), (spoil_an_object, WRONG),
        (leave_an_object, WRONG), (lose_a_part, LOST), (spoil_a_part, WRONG), (lose_a_webhook, LOST), (answer_no_webhook, LOST), (forge_a_webhook, WRONG),
        (send_another_body, DOUBLE), (bury_nothing, LOST), (bury_twice, DOUBLE),
    ],
)  # fmt: skip
def test_each_harm_is_found(good, harm, kind):
    harm(good)
    assert kind in {violation.kind for violation in judge(good, 2)}


def test_figures(good):
    assert longest_stall([12.0, 17.0], 11.0, 18.0) == 5.0
    assert p95([float(number) for number in range(1, 101)]) == 95.0
    assert p95([]) is None
    [line] = table(good)
    assert (line["count"], line["longest_stall_s"], line["takeovers_s"]) == (1, 5.0, [4.0])
