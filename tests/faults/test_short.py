"""The fault run's short form: the main faults under load, judged by the same checker. `make faults` is the whole of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900)]

HERE = Path(__file__).parent


def test_nothing_is_lost_or_done_twice(tmp_path):
    out = tmp_path / "faults.json"
    ran = subprocess.run(
        [sys.executable, "-m", "harness.run", "--scenario", "short", "--seed", "1", "--at-least", "60", "--out", out],
        env=os.environ | {"PYTHONPATH": str(HERE)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-3000:]
    result = json.loads(out.read_bytes())
    assert result["ok"]
    assert result["violations"] == []
    assert result["summary"]["jobs"] == 60
    assert {line["fault"] for line in result["faults"]} == {
        "kill worker", "kill connect in a transaction", "kill broker", "kill postgres",
    }  # fmt: skip
    assert result["summary"]["takeovers"] > 0
    last = ran.stdout.rstrip().splitlines()[-1]
    assert last.startswith("faults: 60 jobs, 0 lost, 0 double effects, takeover p95 "), last
