"""`python -m checker MANIFEST`: read the evidence, judge it, print the table. Exit code 0 only if nothing is wrong."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from checker.evidence import gather
from checker.figures import summary, table
from checker.rules import DOUBLE, LOST, judge

SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--at-least", type=int, default=500)
    given = parser.parse_args()
    manifest = json.loads(given.manifest.read_text())
    print("  reading Kafka, Postgres, the receiver's log and the bucket", flush=True)
    found = gather(manifest)
    violations, lines, figures = judge(found, given.at_least), table(found), summary(found)
    result = {
        "ok": not violations, "seed": manifest["seed"], "scenario": manifest["scenario"], "summary": figures,
        "faults": lines, "violations": [{"kind": one.kind, "what": one.what} for one in violations],
    }  # fmt: skip
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\n{'fault':<31}{'count':>6}{'longest stall s':>17}{'duplicates suppressed':>23}")
    for line in lines:
        print(f"{line['fault']:<31}{line['count']:>6}{line['longest_stall_s']:>17.1f}{line['repeats']:>23}")
    print(f"\n{figures['dispatches']} dispatches, {figures['claims_without_fruit']} claims without fruit, "
          f"{figures['events']} events, {figures['webhook_requests']} webhook requests, {figures['objects']} objects, "
          f"{figures['duplicates_suppressed']} duplicates suppressed, restarts {figures['restarts'] or 'none'}")  # fmt: skip
    for one in violations[:SHOWN]:
        print(f"VIOLATION ({one.kind}): {one.what}")
    if len(violations) > SHOWN:
        print(f"... and {len(violations) - SHOWN} more in {given.out}")
    kinds = Counter(one.kind for one in violations)
    takeover = "-" if figures["takeover_p95_s"] is None else f"{figures['takeover_p95_s']:.1f}"
    if wrong := len(violations) - kinds[LOST] - kinds[DOUBLE]:
        print(f"{wrong} other violations")
    print(
        f"faults: {figures['jobs']} jobs, {kinds[LOST]} lost, {kinds[DOUBLE]} double effects, takeover p95 {takeover} s"
    )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
