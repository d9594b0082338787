"""What each upload of the manifest must have come to: its jobs, its variants and their events, by name.

That nothing is left over or twice is not enough: a job may fail with its dead letter, and a variant be skipped, in good
order. The manifest says for each upload what must have been made of it, by stage.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from checker.evidence import Evidence
from checker.verdict import LOST, WRONG, Violation


def every_upload_was_worked_through(found: Evidence) -> Iterator[Violation]:
    """The jobs of an upload that can be processed are all done; of any other, its one job failed for what it is."""
    jobs = defaultdict(dict)
    for row in found.rows["jobs"]:
        jobs[row["asset_id"]][row["stage"]] = row
    codes = {row["job_id"]: row["code"] for row in found.rows["dead_letters"]}
    for upload in found.manifest["uploads"]:
        asset, good = upload["asset_id"], upload["expected"] == "ready"
        for stage in upload["made"].keys() | jobs[asset].keys():
            job = jobs[asset].get(stage)
            if stage not in upload["made"]:
                yield Violation(WRONG, f"asset {asset} ({upload['kind']}) has a job for {stage}")
            elif job is None:
                yield Violation(LOST, f"asset {asset} ({upload['kind']}) has no job for {stage}")
            elif good and job["state"] != "done":
                yield Violation(LOST, f"job {job['id']} ({stage} of {upload['kind']}) is {job['state']}, not done")
            elif not good and codes.get(job["id"]) not in upload["codes"]:
                yield Violation(
                    WRONG, f"job {job['id']} ({stage} of {upload['kind']}) failed of {codes.get(job['id'])}"
                )


def every_profile_was_made_and_told(found: Evidence) -> Iterator[Violation]:
    """One variant and one `variant.ready` per profile that is expected, and none beside."""
    made = _profiles(found.rows["variants"], "profile")
    told = _profiles((row for row in found.rows["events"] if row["type"] == "variant.ready"), "subject")
    for upload in found.manifest["uploads"]:
        asset = upload["asset_id"]
        wanted = Counter(profile for profiles in upload["made"].values() for profile in profiles)
        for what, there in (("variant", made[asset]), ("variant.ready", told[asset])):
            yield from (Violation(LOST, f"asset {asset} has no {what} {name}") for name in wanted - there)
            yield from (Violation(WRONG, f"asset {asset} has a {what} {name} too many") for name in there - wanted)


def _profiles(rows, column: str) -> dict[str, Counter]:
    found = defaultdict(Counter)
    for row in rows:
        found[row["asset_id"]][row[column]] += 1
    return found


def objects_are_of_the_upload(found: Evidence) -> Iterator[Violation]:
    """A variant's object lies in its tenant's folder for the bytes that were uploaded."""
    folders = {
        upload["asset_id"]: f"media/{upload['tenant_id']}/{upload['sha256']}/" for upload in found.manifest["uploads"]
    }
    for row in found.rows["variants"]:
        folder = folders.get(row["asset_id"])
        if folder is None:
            yield Violation(WRONG, f"variant {row['profile']} is of asset {row['asset_id']}, which nobody uploaded")
        elif not row["object_key"].startswith(folder):
            yield Violation(WRONG, f"asset {row['asset_id']}: {row['object_key']} is not in {folder}")


def no_attempt_was_lost(found: Evidence) -> Iterator[Violation]:
    """A job that is done was never counted as failed, and one that failed once.

    No fault of a run may cost an attempt: who is killed or stopped loses its lease, which counts as a death, who is
    told to end gives its jobs back, what is away is waited for, and no job comes near its time limit.
    """
    for row in found.rows["jobs"]:
        if row["state"] == "done" and row["attempts"] != 0:
            yield Violation(WRONG, f"job {row['id']} ({row['stage']}) is done, and lost {row['attempts']} attempts")
        if row["state"] == "failed" and row["attempts"] != 1:
            yield Violation(WRONG, f"job {row['id']} ({row['stage']}) failed at attempt {row['attempts']}")
