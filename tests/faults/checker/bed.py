"""Whether the run was what it says it was: the harm was done, and what was to show an effect could show it.

A run that harmed nothing, or a store that keeps one version whatever is written, would pass every other rule.
"""

from collections.abc import Iterator

from checker.evidence import Evidence
from checker.verdict import WRONG, Violation

UNVERSIONED = "null"  # what S3 calls the version of an object in a bucket that keeps none


def the_harm_was_done(found: Evidence) -> Iterator[Violation]:
    """Where Connect writes in transactions, it was killed within one."""
    for number, fault in enumerate(found.manifest["faults"], start=1):
        if found.manifest["transactions"] and fault["about"].get("open transaction") is False:
            yield Violation(WRONG, f"fault {number} ({fault['kind']}): no transaction was open")


def nothing_ended_by_itself(found: Evidence) -> Iterator[Violation]:
    """No process ended that nobody killed, but for those that a fault before may leave no other way."""
    for one in found.manifest["restarts"]:
        allowed = {
            part for fault in found.manifest["faults"] if fault["began"] < one["at"] for part in fault["may_end"]
        }
        if one["part"] not in allowed:
            yield Violation(WRONG, f"{one['part']} ended by itself (exit {one['exit']})")


def the_store_keeps_versions(found: Evidence) -> Iterator[Violation]:
    """Every object has a version of its own, and one that was written twice has two."""
    if len(set(found.probe) - {UNVERSIONED}) != 2:
        yield Violation(WRONG, f"an object that was put twice has the versions {found.probe}: the bucket keeps none")
    for one in found.versions:
        if one["version"] == UNVERSIONED:
            yield Violation(WRONG, f"{one['key']} has no version of its own")
