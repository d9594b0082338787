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
from checker.rules import judge
from checker.verdict import DOUBLE, LOST, WRONG

FOLDER = Path(__file__).parent / "checker"
ALLOWED = {"psycopg", "confluent_kafka", "boto3", "checker"}
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
TYPES = ("asset.uploaded", "variant.ready", "asset.ready", "variant.ready")
MADE = {"image.primary": ["thumbnail"], "image.avif": ["thumbnail_avif"]}
FOLDER_OF_A = "media/t/aa"
SUBJECTS = ("x", "thumbnail", "x", "thumbnail_avif")


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
                {"asset_id": "a", "tenant_id": "t", "kind": "photo", "expected": "ready", "made": MADE, "codes": [],
                 "sha256": "aa"},
                {"asset_id": "b", "tenant_id": "t", "kind": "cut", "expected": "failed", "made": {"image.primary": []},
                 "codes": ["truncated"], "sha256": "bb"},
            ],
            "endpoints": [{"tenant_id": "t", "path": "/0/all", "events": [*TYPES, "asset.failed"], "secret": SECRET}],
            "faults": [
                {"kind": "kill worker", "began": 11.0, "ended": 18.0, "takeovers": [4.0], "about": {}, "may_end": []},
                {"kind": "kill connect in a transaction", "began": 19.0, "ended": 20.0, "takeovers": [],
                 "about": {"open transaction": True}, "may_end": []},
                {"kind": "delete topics", "began": 21.0, "ended": 25.0, "takeovers": [], "about": {},
                 "may_end": ["webhooks"]},
            ],
            "restarts": [{"part": "webhooks", "at": 24.0, "exit": 1}],
            "transactions": True,
            "began": 10.0,
            "ended": 30.0,
        }
    )  # fmt: skip
    events = [("a", seq, kind, subject) for seq, (kind, subject) in enumerate(zip(TYPES, SUBJECTS, strict=True), 1)]
    events += [("b", 1, "asset.uploaded", "x"), ("b", 2, "asset.failed", "x")]
    found.rows = {
        "assets": [
            {"id": "a", "tenant_id": "t", "state": "ready", "generation": 1, "event_seq": 4},
            {"id": "b", "tenant_id": "t", "state": "failed", "generation": 1, "event_seq": 2},
        ],
        "jobs": [
            {"id": f"job-{asset}{stage[5:]}", "asset_id": asset, "stage": stage, "generation": 1, "state": state,
             "epoch": 1, "attempts": attempts, "finished": at}
            for asset, stage, state, attempts, at in (
                ("a", "image.primary", "done", 0, 12.0), ("b", "image.primary", "failed", 1, 17.0),
                ("a", "image.avif", "done", 0, 12.0),
            )
        ],
        "events": [
            {"id": f"{asset}{seq}", "asset_id": asset, "tenant_id": "t", "seq": seq, "generation": 1, "type": kind, "subject": subject}
            for asset, seq, kind, subject in events
        ],
        "variants": [
            {"asset_id": "a", "generation": 1, "profile": "thumbnail", "object_key": f"{FOLDER_OF_A}/1", "size": 5,
             "sha256": "s", "parts": [{"name": "2", "sha256": "p"}]},
            {"asset_id": "a", "generation": 1, "profile": "thumbnail_avif", "object_key": f"{FOLDER_OF_A}/3", "size": 5,
             "sha256": "v", "parts": []},
        ],
        "dead_letters": [{"id": "d", "job_id": "job-b.primary", "asset_id": "b", "code": "truncated"}],
    }  # fmt: skip
    found.records = {
        "events": [record(offset, row) for offset, row in enumerate(found.rows["events"])],
        "jobs.image": [Record("media.jobs.image", 1, 7, 10.0, {}, b"dispatch 1")],
        "jobs.video": [],
        "jobs.dlq": [Record("media.jobs.dlq", 0, 0, 17.0, {"ce_id": "d"}, b'{"job_id": "job-b.primary"}')],
    }
    found.requests = [request(row["id"], b"{}") for row in found.rows["events"]]
    found.versions = [{"key": f"{FOLDER_OF_A}/{n}", "version": "v1", "size": 5, "deleted": False} for n in (1, 2, 3)]
    found.hashes = {f"{FOLDER_OF_A}/1": "s", f"{FOLDER_OF_A}/2": "p", f"{FOLDER_OF_A}/3": "v"}
    found.probe = ["v1", "v2"]
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
    found.rows["assets"][0]["event_seq"] = 5


def repeat_a_fact(found):
    row = found.rows["events"][0] | {"id": "a5", "seq": 5}
    found.rows["events"].append(row)
    found.rows["assets"][0]["event_seq"] = 5
    found.records["events"].append(record(91, row))
    found.requests.append(request("a5", b"{}"))


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
    found.versions.append({"key": f"{FOLDER_OF_A}/1", "version": "v2", "size": 5, "deleted": False})


def lose_an_object(found):
    del found.versions[0], found.hashes[f"{FOLDER_OF_A}/1"]


def spoil_an_object(found):
    found.hashes[f"{FOLDER_OF_A}/1"] = "other"


def leave_an_object(found):
    found.versions.append({"key": f"{FOLDER_OF_A}/4", "version": "v1", "size": 5, "deleted": False})
    found.hashes[f"{FOLDER_OF_A}/4"] = "x"


def lose_a_part(found):
    del found.versions[1], found.hashes[f"{FOLDER_OF_A}/2"]


def spoil_a_part(found):
    found.hashes[f"{FOLDER_OF_A}/2"] = "other"


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


def fail_the_second_stage(found):
    """As after five attempts with a child that died: with its dead letter, which is a legal end of any other job."""
    found.rows["jobs"][2] |= {"state": "failed", "attempts": 1}
    found.rows["dead_letters"].append({"id": "e", "job_id": "job-a.avif", "asset_id": "a", "code": "child_died"})
    letter = Record("media.jobs.dlq", 0, 1, 17.0, {"ce_id": "e"}, b'{"job_id": "job-a.avif"}')
    found.records["jobs.dlq"].append(letter)


def never_make_the_second_stage(found):
    del found.rows["jobs"][2]


def make_a_stage_too_many(found):
    found.rows["jobs"].append(found.rows["jobs"][0] | {"id": "other", "stage": "video.primary"})


def fail_of_something_else(found):
    found.rows["dead_letters"][0]["code"] = "child_died"


def lose_a_variant(found):
    del found.rows["variants"][1], found.versions[2], found.hashes[f"{FOLDER_OF_A}/3"]


def make_another_variant(found):
    found.rows["variants"].append(found.rows["variants"][0] | {"profile": "poster"})


def never_tell_a_variant(found):
    """It was never numbered, so that no gap shows it."""
    found.rows["assets"][0]["event_seq"] = 3
    del found.rows["events"][3], found.records["events"][3], found.requests[3]


def tell_a_variant_as_another(found):
    found.rows["events"][3]["subject"] = "poster"


def _move_an_object(found, key):
    found.rows["variants"][1]["object_key"] = found.versions[2]["key"] = key
    found.hashes[key] = found.hashes.pop(f"{FOLDER_OF_A}/3")


def store_for_another_tenant(found):
    _move_an_object(found, "media/u/aa/3")


def store_under_other_bytes(found):
    _move_an_object(found, "media/t/ab/3")


def bury_what_is_done(found):
    letter = Record("media.jobs.dlq", 0, 1, 17.0, {"ce_id": "e"}, b'{"job_id": "job-a.primary"}')
    found.records["jobs.dlq"].append(letter)


def bury_what_nobody_reads(found):
    found.records["jobs.dlq"].append(Record("media.jobs.dlq", 0, 1, 17.0, {"ce_id": "e"}, b"\xff"))


def cost_an_attempt(found):
    found.rows["jobs"][0]["attempts"] = 1


def try_again_what_can_not_be(found):
    found.rows["jobs"][1]["attempts"] = 5


def kill_outside_of_a_transaction(found):
    found.manifest["faults"][1]["about"]["open transaction"] = False


def end_by_itself(found):
    found.manifest["restarts"].append({"part": "keeper", "at": 24.0, "exit": 1})


def end_before_its_reason(found):
    found.manifest["restarts"].append({"part": "webhooks", "at": 20.0, "exit": 1})


def keep_no_versions(found):
    found.probe = ["null"]


def keep_one_version(found):
    found.probe = ["v1"]


def have_an_object_without_a_version(found):
    found.versions[0]["version"] = "null"


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (lose_an_end, LOST), (end_otherwise, WRONG), (leave_a_job, LOST), (make_a_second_job, DOUBLE),
        (have_no_job, LOST), (skip_a_number, LOST), (repeat_a_fact, DOUBLE), (tell_no_end, LOST),
        (lose_an_event, LOST), (tell_in_two_ways, DOUBLE), (tell_what_never_was, WRONG), (tell_out_of_order, WRONG),
        (move_an_asset, WRONG), (write_twice, DOUBLE), (lose_an_object, LOST), (spoil_an_object, WRONG),
        (leave_an_object, WRONG), (lose_a_part, LOST), (spoil_a_part, WRONG), (lose_a_webhook, LOST), (answer_no_webhook, LOST), (forge_a_webhook, WRONG),
        (send_another_body, DOUBLE), (bury_nothing, LOST), (bury_twice, DOUBLE), (fail_the_second_stage, LOST),
        (never_make_the_second_stage, LOST), (make_a_stage_too_many, WRONG), (fail_of_something_else, WRONG),
        (lose_a_variant, LOST), (make_another_variant, WRONG), (never_tell_a_variant, LOST),
        (tell_a_variant_as_another, LOST), (store_for_another_tenant, WRONG), (store_under_other_bytes, WRONG),
        (bury_what_is_done, WRONG), (bury_what_nobody_reads, WRONG), (cost_an_attempt, WRONG),
        (try_again_what_can_not_be, WRONG), (kill_outside_of_a_transaction, WRONG), (end_by_itself, WRONG),
        (end_before_its_reason, WRONG), (keep_no_versions, WRONG), (keep_one_version, WRONG),
        (have_an_object_without_a_version, WRONG),
    ],
)  # fmt: skip
def test_each_harm_is_found(good, harm, kind):
    harm(good)
    assert kind in {violation.kind for violation in judge(good, 2)}


def test_a_run_without_transactions_kills_connect_wherever_it_is(good):
    kill_outside_of_a_transaction(good)
    good.manifest["transactions"] = False
    assert judge(good, 2) == []


def test_figures(good):
    assert longest_stall([12.0, 17.0], 11.0, 18.0) == 5.0
    assert p95([float(number) for number in range(1, 101)]) == 95.0
    assert p95([]) is None
    line, *_ = table(good)
    assert (line["count"], line["longest_stall_s"], line["takeovers_s"]) == (1, 5.0, [4.0])
