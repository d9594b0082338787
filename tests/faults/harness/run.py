"""One run: load and faults by the plan, then everything comes to rest, then the checker judges what is left.

`python -m harness.run --scenario full --seed 1`, with this folder's parent on the path; `make faults` calls it.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from harness.bed import PROBE, Bed, bed
from harness.inflict import inflict
from harness.load import Load
from harness.media import Files, temporary_folder
from harness.plan import MAY_END, SCENARIOS, Fault, Plan, make_plan

HERE = Path(__file__).resolve().parents[1]
_AT_LEAST = 500
_RECOVERY_BOUND_S = 240.0
_REST_BOUND_S = 420.0
_LATE_S = 15.0  # for a takeover: what came later wants an explanation
_QUIET = """
    SELECT (SELECT count(*) FROM jobs WHERE state IN ('waiting', 'queued', 'running')) AS jobs,
        (SELECT count(*) FROM assets WHERE state IN ('uploaded', 'processing')) AS assets,
        (SELECT count(*) FROM webhook_deliveries WHERE state IN ('sending', 'waiting')) AS deliveries,
        (SELECT count(*) FROM webhook_deliveries) AS made,
        (SELECT sum(event_seq) FROM assets) AS events
"""
_ENDED = "SELECT count(*) AS ended FROM assets WHERE id = ANY(%s::uuid[]) AND state IN ('ready', 'failed')"


async def carry_out(found: Bed, plan: Plan, files: Files) -> dict:
    """Load and faults; returns the manifest that the checker reads."""
    load = Load(found, plan, files)
    uploading = asyncio.create_task(load.run())
    supervising = asyncio.create_task(found.supervise())
    began, faults = time.time(), []
    try:
        for index, fault in enumerate(plan.faults):
            following = plan.faults[index + 1].after if index + 1 < len(plan.faults) else len(plan.uploads)
            faults.append(await _one(found, load, fault, following, uploading))
            say(began, f"{index + 1}/{len(plan.faults)} {fault.kind}", faults[-1])
        await load.release(len(plan.uploads))
        await uploading
        print(f"  all {len(load.accepted)} uploads accepted; waiting for rest", flush=True)
        await _rest(found, load, _REST_BOUND_S + 2 * max(upload.seconds for upload in plan.uploads))
    finally:
        supervising.cancel()
        uploading.cancel()
        await asyncio.gather(supervising, uploading, return_exceptions=True)
    return _manifest(found, load, faults, began)


async def _one(found: Bed, load: Load, fault: Fault, following: int, uploading: asyncio.Task) -> dict:
    await load.release(fault.after)
    await load.until_accepted(fault.after)
    began = time.time()
    # What comes while it hurts: uploads up to the next fault, spread over the time that this one takes.
    dripping = asyncio.create_task(_drip(load, fault.after, following))
    measured = await inflict(found, fault)
    undone = time.time()
    await dripping
    if uploading.done():
        uploading.result()
    await _recovered(found, load, following)
    return {
        "kind": fault.kind, "after": fault.after, "began": began, "undone": undone, "ended": time.time(),
        "takeovers": measured.pop("takeovers", []), "about": measured, "may_end": MAY_END.get(fault.kind, ()),
    }  # fmt: skip


async def _drip(load: Load, first: int, last: int) -> None:
    for number in range(first, last):
        await load.release(number + 1)
        await asyncio.sleep(0.4)


async def _recovered(found: Bed, load: Load, count: int) -> None:
    """An upload that was accepted after the harm was undone has reached its end."""
    await load.until_accepted(count)
    probe = max(load.accepted, key=lambda one: (one["seconds"] < 10, one["at"]))["asset_id"]
    async with asyncio.timeout(_RECOVERY_BOUND_S):
        while (await found.rows(_ENDED, [probe]))[0]["ended"] == 0:  # noqa: ASYNC110 - it happens in other processes
            await asyncio.sleep(0.2)


async def _rest(found: Bed, load: Load, bound_s: float) -> None:
    """Until nothing is under way: no job, no delivery, and for a while no new one."""
    deadline, quiet_since, before = time.monotonic() + bound_s, None, None
    told = 0.0
    while quiet_since is None or time.monotonic() - quiet_since < 5:
        [now] = await found.rows(_QUIET)
        busy = now["jobs"] or now["assets"] or now["deliveries"]
        if busy or now != before:
            quiet_since, before = None, now
        elif quiet_since is None:
            quiet_since = time.monotonic()
        if time.monotonic() > deadline:
            print(f"  no rest after {bound_s:.0f} s: {now}; the checker will say what is missing", flush=True)
            return
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"    under way: {now['jobs']} jobs, {now['deliveries']} deliveries", flush=True)
        await asyncio.sleep(0.5)


def _manifest(found: Bed, load: Load, faults: list[dict], began: float) -> dict:
    env = found.stack.env
    return {
        "database_url": found.database_url, "brokers": found.direct_brokers, "prefix": "media",
        "store": {
            "endpoint": env["MEDIALANE_S3_ENDPOINT"], "bucket": env["MEDIALANE_S3_BUCKET"],
            "access_key": env["MEDIALANE_S3_ACCESS_KEY"], "secret_key": env["MEDIALANE_S3_SECRET_KEY"],
        },
        "receiver_log": str(found.receiver_log), "endpoints": found.endpoints, "uploads": load.accepted,
        "faults": faults, "restarts": found.restarts, "probe": PROBE, "began": began, "ended": time.time(),
    }  # fmt: skip


def say(began: float, what: str, measured: dict) -> None:
    took = measured["ended"] - measured["began"]
    details = ", ".join(f"{name} {value}" for name, value in measured["about"].items())
    waits = f", taken over after {max(measured['takeovers']):.1f} s" if measured["takeovers"] else ""
    print(f"  [{time.time() - began:4.0f} s] {what}: {took:.0f} s{waits} ({details})", flush=True)


async def run(scenario_name: str, seed: int, jobs: int | None, out: Path, at_least: int) -> int:
    """Returns the checker's exit code."""
    scenario = SCENARIOS[scenario_name]
    plan = make_plan(seed, scenario, jobs)
    print(f"faults: {scenario_name}, seed {seed}: {len(plan.uploads)} uploads, {len(plan.faults)} faults", flush=True)
    folder = temporary_folder()
    try:
        files = Files(seed, videos=scenario.videos > 0)
        async with bed(folder, scenario) as found:
            manifest = await carry_out(found, plan, files)
            manifest |= {"scenario": scenario_name, "seed": seed, "transactions": scenario.transactions}
            path = folder / "manifest.json"
            path.write_text(json.dumps(manifest))
            command = [sys.executable, "-m", "checker", str(path), "--out", str(out), "--at-least", str(at_least)]
            judged = await asyncio.to_thread(subprocess.run, command, cwd=HERE, check=False)
            late = max((taken for fault in manifest["faults"] for taken in fault["takeovers"]), default=0.0)
            if judged.returncode or late > _LATE_S:
                _keep(folder, out)
            return judged.returncode
    except BaseException:
        _keep(folder, out)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(folder: Path, out: Path) -> None:
    """What explains a failure, or a takeover that came late: the logs and the evidence."""
    kept = out.parent / "faults-kept"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    with contextlib.suppress(OSError):
        shutil.copytree(folder / "stack" / "logs", kept / "logs")
    for name in ("manifest.json", "receiver.jsonl"):
        with contextlib.suppress(OSError):
            shutil.copy(folder / name, kept)
    print(f"logs and evidence are kept in {kept}", file=sys.stderr, flush=True)  # the verdict stays the last line


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", choices=SCENARIOS, default="full")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, help="how many uploads, instead of the scenario's own number")
    parser.add_argument("--out", type=Path, default=Path("build/faults.json"))
    parser.add_argument(
        "--at-least", type=int, help="fewer jobs than this are a failure; unset: 500, or a smaller plan's"
    )
    given = parser.parse_args()
    at_least = given.at_least or min(_AT_LEAST, SCENARIOS[given.scenario].jobs)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    return asyncio.run(run(given.scenario, given.seed, given.jobs, given.out.absolute(), at_least))


if __name__ == "__main__":
    sys.exit(main())
