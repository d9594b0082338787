"""What a run measured: per kind of fault how often, the longest stall, and how many repeats had no effect."""

from collections import Counter
from itertools import pairwise
from math import ceil

from checker.evidence import Evidence


def repeats(found: Evidence) -> list[float]:
    """When something arrived once more that had arrived already: a dispatch, an event, a webhook request. Unix seconds."""
    seen, again = set(), []
    deliveries = [
        *((one.at, ("dispatch", one.value)) for route in ("jobs.image", "jobs.video") for one in found.records[route]),
        *((one.at, ("event", one.headers["ce_id"])) for one in found.records["events"]),
        *((one.at, ("webhook", one.path, one.headers.get("webhook-id"))) for one in found.requests),
    ]
    for at, what in sorted(deliveries, key=lambda pair: pair[0]):
        if what in seen:
            again.append(at)
        seen.add(what)
    return again


def unfruitful_claims(found: Evidence) -> int:
    """Claims beyond each job's last: work that was lost with its worker, given back, or fenced off."""
    return sum(max(0, row["epoch"] - 1) for row in found.rows["jobs"])


def longest_stall(finished: list[float], began: float, ended: float) -> float:
    """The longest time without any job ending, seconds, between two moments."""
    inside = [began, *(at for at in finished if began < at < ended), ended]
    return max(after - before for before, after in pairwise(inside))


def p95(values: list[float]) -> float | None:
    ordered = sorted(values)
    return ordered[ceil(0.95 * len(ordered)) - 1] if ordered else None


def table(found: Evidence) -> list[dict]:
    """One line per kind of fault, in the order of their first happening."""
    finished = sorted(row["finished"] for row in found.rows["jobs"] if row["finished"] is not None)
    again = repeats(found)
    lines: dict[str, dict] = {}
    faults = found.manifest["faults"]
    ends = [*(fault["began"] for fault in faults[1:]), found.manifest["ended"]]
    for fault, end in zip(faults, ends, strict=True):
        line = lines.setdefault(
            fault["kind"], {"fault": fault["kind"], "count": 0, "longest_stall_s": 0.0, "repeats": 0, "takeovers_s": []}
        )
        line["count"] += 1
        stall = longest_stall(finished, fault["began"], fault["ended"])
        line["longest_stall_s"] = round(max(line["longest_stall_s"], stall), 1)
        line["repeats"] += sum(fault["began"] <= at < end for at in again)
        line["takeovers_s"] += fault["takeovers"]
    return list(lines.values())


def summary(found: Evidence) -> dict:
    takeovers = [seconds for fault in found.manifest["faults"] for seconds in fault["takeovers"]]
    jobs = found.rows["jobs"]
    return {
        "jobs": len(found.manifest["uploads"]),
        "events": len(found.rows["events"]),
        "webhook_requests": len(found.requests),
        "objects": len(found.hashes),
        "dispatches": sum(len(found.records[route]) for route in ("jobs.image", "jobs.video")),
        "duplicates_suppressed": len(repeats(found)),
        "claims_without_fruit": unfruitful_claims(found),
        "deaths": sum(row["deaths"] for row in jobs),
        "attempts_counted": sum(row["attempts"] for row in jobs if row["state"] == "done"),
        "restarts": dict(Counter(one["part"] for one in found.manifest["restarts"])),
        "takeovers": len(takeovers),
        "takeover_p95_s": p95(takeovers),
        "states": dict(Counter(row["state"] for row in jobs)),
        "seconds": round(found.manifest["ended"] - found.manifest["began"], 1),
    }
