"""What must hold after a run. Each rule yields violations; `LOST` and `DOUBLE` say what kind they are."""

import base64
import hashlib
import hmac
import json
from collections import Counter, defaultdict
from collections.abc import Iterator

from checker.bed import nothing_ended_by_itself, the_harm_was_done, the_store_keeps_versions
from checker.evidence import Evidence
from checker.uploads import (
    every_profile_was_made_and_told,
    every_upload_was_worked_through,
    no_attempt_was_lost,
    objects_are_of_the_upload,
)
from checker.verdict import DOUBLE, LOST, WRONG, Violation

ENDS = {"asset.ready": "ready", "asset.failed": "failed"}


def every_upload_ended(found: Evidence) -> Iterator[Violation]:
    """Each accepted upload is in the end that its bytes deserve, and nothing that was completed is under way."""
    assets = {row["id"]: row for row in found.rows["assets"]}
    for upload in found.manifest["uploads"]:
        asset = assets.get(upload["asset_id"])
        state = asset["state"] if asset else "missing"
        if state not in {"ready", "failed"}:
            yield Violation(LOST, f"asset {upload['asset_id']} ({upload['kind']}) is {state}")
        elif state != upload["expected"]:
            yield Violation(WRONG, f"asset {upload['asset_id']} ({upload['kind']}) ended {state}")
    for row in found.rows["assets"]:
        if row["state"] in {"uploaded", "processing"}:
            yield Violation(LOST, f"asset {row['id']} was completed and is still {row['state']}")


def every_job_ended_once(found: Evidence) -> Iterator[Violation]:
    for row in found.rows["jobs"]:
        if row["state"] not in {"done", "failed", "cancelled"}:
            yield Violation(LOST, f"job {row['id']} ({row['stage']}) is {row['state']}")
    made = Counter((row["asset_id"], row["stage"], row["generation"]) for row in found.rows["jobs"])
    yield from (Violation(DOUBLE, f"{count} jobs for {key}") for key, count in made.items() if count > 1)
    having = {row["asset_id"] for row in found.rows["jobs"]}
    for upload in found.manifest["uploads"]:
        if upload["asset_id"] not in having:
            yield Violation(LOST, f"asset {upload['asset_id']} has no job")


def timelines_are_whole(found: Evidence) -> Iterator[Violation]:
    """Numbers without gaps, one event per (generation, type, subject), one end per generation, the right one."""
    by_asset = defaultdict(list)
    for row in found.rows["events"]:
        by_asset[row["asset_id"]].append(row)
    for asset in found.rows["assets"]:
        events = sorted(by_asset[asset["id"]], key=lambda row: row["seq"])
        if [row["seq"] for row in events] != list(range(1, asset["event_seq"] + 1)):
            yield Violation(LOST, f"asset {asset['id']}: seq {[row['seq'] for row in events]} of {asset['event_seq']}")
        facts = Counter((row["generation"], row["type"], row["subject"]) for row in events)
        yield from (Violation(DOUBLE, f"asset {asset['id']}: {n} x {key}") for key, n in facts.items() if n > 1)
        ends = [ENDS[row["type"]] for row in events if row["type"] in ENDS and row["generation"] == asset["generation"]]
        if asset["state"] in ENDS.values() and ends != [asset["state"]]:
            yield Violation(DOUBLE if len(ends) > 1 else LOST, f"asset {asset['id']} is {asset['state']}, told {ends}")


def kafka_tells_the_timeline(found: Evidence) -> Iterator[Violation]:
    """Every event is in Kafka under one id, on one partition per asset, first tellings in the order of their numbers."""
    told: dict[str, object] = {}
    facts: dict[tuple, str] = {}
    places: dict[str, set[int]] = defaultdict(set)
    last: dict[tuple[str, int], int] = {}
    known = {row["id"]: row for row in found.rows["events"]}
    for record in sorted(found.records["events"], key=lambda one: (one.partition, one.offset)):
        identity = record.headers["ce_id"]
        row = known.get(identity)
        if row is None:
            yield Violation(WRONG, f"event {identity} is in Kafka and in no timeline")
            continue
        if identity in told:
            if told[identity] != record.value:
                yield Violation(DOUBLE, f"event {identity} was told in two ways")
            continue
        told[identity] = record.value
        fact = (row["asset_id"], row["generation"], record.headers["ce_type"], row["subject"])
        if facts.setdefault(fact, identity) != identity:
            yield Violation(DOUBLE, f"two event ids for {fact}")
        if (record.headers["ce_type"], int(record.headers["ce_seq"])) != (row["type"], row["seq"]):
            yield Violation(WRONG, f"event {identity}: its headers are another event's")
        places[row["asset_id"]].add(record.partition)
        key = (row["asset_id"], record.partition)
        if row["seq"] < last.get(key, 0):
            yield Violation(WRONG, f"asset {row['asset_id']}: seq {row['seq']} told after {last[key]}")
        last[key] = max(last.get(key, 0), row["seq"])
    yield from (
        Violation(LOST, f"event {i} ({known[i]['type']}) never reached Kafka") for i in known.keys() - told.keys()
    )
    yield from (Violation(WRONG, f"asset {a} is on partitions {p}") for a, p in places.items() if len(p) > 1)


def objects_are_once(found: Evidence) -> Iterator[Violation]:
    """One version per key, every variant's object is there with the bytes that were recorded, and no other."""
    counts = Counter(one["key"] for one in found.versions)
    yield from (Violation(DOUBLE, f"{count} versions of {key}") for key, count in counts.items() if count > 1)
    yield from (Violation(LOST, f"{one['key']} was deleted") for one in found.versions if one["deleted"])
    variants = Counter((row["asset_id"], row["generation"], row["profile"]) for row in found.rows["variants"])
    yield from (Violation(DOUBLE, f"{count} rows for variant {key}") for key, count in variants.items() if count > 1)
    wanted = {key: sha256 for row in found.rows["variants"] for key, sha256 in _objects(row)}
    for key, sha256 in wanted.items():
        if key not in counts:
            yield Violation(LOST, f"{key} of a variant is not in the bucket")
        elif found.hashes[key] != sha256:
            yield Violation(WRONG, f"{key} has other bytes than its variant")
    yield from (Violation(WRONG, f"{key} belongs to no variant") for key in counts.keys() - wanted.keys())
    ready = {row["id"] for row in found.rows["assets"] if row["state"] == "ready"}
    yield from (
        Violation(LOST, f"asset {asset} is ready without variants")
        for asset in ready - {row["asset_id"] for row in found.rows["variants"]}
    )


def _objects(variant: dict) -> Iterator[tuple[str, str]]:
    """The keys of a variant's objects, its own and those beside it, each with the hash that was recorded."""
    yield variant["object_key"], variant["sha256"]
    folder = variant["object_key"].rpartition("/")[0]
    yield from ((f"{folder}/{part['name']}", part["sha256"]) for part in variant["parts"])


def dead_letters_are_once(found: Evidence) -> Iterator[Violation]:
    """A failed job has one row and one record (under one id) of its own; nothing else is dead."""
    failed = {row["id"] for row in found.rows["jobs"] if row["state"] == "failed"}
    rows = Counter(row["job_id"] for row in found.rows["dead_letters"])
    yield from (Violation(DOUBLE, f"{count} dead letters of job {job}") for job, count in rows.items() if count > 1)
    for row in found.rows["dead_letters"]:
        if row["job_id"] not in failed:
            yield Violation(WRONG, f"dead letter {row['id']} ({row['code']}) belongs to no failed job")
    # Jobs that failed with the twin whose bytes they share are told by their own dead letter as well.
    yield from (Violation(LOST, f"failed job {job} has no dead letter") for job in failed - rows.keys())
    bodies = [one.value.decode(errors="replace") for one in _distinct(found)]
    for job in failed:
        told = sum(job in body for body in bodies)
        if told != 1:
            yield Violation(LOST if not told else DOUBLE, f"job {job} has {told} records among the dead letters")
    for body in bodies:
        job = _job_of(body)
        if job not in failed:
            yield Violation(WRONG, f"a record among the dead letters is about job {job}, which has not failed")


def _job_of(body: str) -> str | None:
    try:
        return json.loads(body).get("job_id")
    except (ValueError, AttributeError):
        return None


def _distinct(found: Evidence):
    return {record.headers.get("ce_id"): record for record in found.records["jobs.dlq"]}.values()


def webhooks_arrived(found: Evidence) -> Iterator[Violation]:
    """Every event of every subscribed endpoint was received at least once and accepted, with signatures that hold."""
    accepted: dict[tuple[str, str], bytes] = {}
    secrets = {endpoint["path"]: endpoint["secret"] for endpoint in found.manifest["endpoints"]}
    for request in found.requests:
        identity = request.headers.get("webhook-id", "")
        if not _signed(request, secrets[request.path]):
            yield Violation(WRONG, f"a request for event {identity} to {request.path} is not signed")
        if request.status == 200:
            before = accepted.setdefault((request.path, identity), request.body)
            if before != request.body:
                yield Violation(DOUBLE, f"event {identity} was sent to {request.path} in two ways")
    wanted = {
        (endpoint["path"], row["id"])
        for endpoint in found.manifest["endpoints"]
        for row in found.rows["events"]
        if row["tenant_id"] == endpoint["tenant_id"] and row["type"] in endpoint["events"]
    }
    yield from (Violation(LOST, f"webhook {path} never had event {event}") for path, event in wanted - accepted.keys())
    yield from (Violation(WRONG, f"{path} was sent {event}, not its own") for path, event in accepted.keys() - wanted)


def _signed(request, secret: str) -> bool:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    headers = request.headers
    signed = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + request.body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    plain = "sha256=" + hmac.new(key, request.body, hashlib.sha256).hexdigest()
    return expected in headers.get("webhook-signature", "").split() and headers.get("x-webhook-signature") == plain


RULES = (
    every_upload_ended, every_upload_was_worked_through, every_profile_was_made_and_told, every_job_ended_once,
    timelines_are_whole, kafka_tells_the_timeline, objects_are_once, objects_are_of_the_upload, dead_letters_are_once,
    webhooks_arrived, no_attempt_was_lost, the_harm_was_done, nothing_ended_by_itself, the_store_keeps_versions,
)  # fmt: skip


def judge(found: Evidence, at_least: int) -> list[Violation]:
    """Every violation; too few jobs is one."""
    violations = [violation for rule in RULES for violation in rule(found)]
    count = len(found.manifest["uploads"])
    if count < at_least:
        violations.insert(0, Violation(WRONG, f"only {count} jobs; at least {at_least} are needed to say anything"))
    return violations
