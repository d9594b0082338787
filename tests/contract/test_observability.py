"""Alerts and dashboards against the metric catalogue and the runbooks: what they ask for exists, both ways."""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.metrics import CATALOGUE, CONSUMER_LAG, SLO_TARGETS, GaugeSpec, HistogramSpec, Metric

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
DASHBOARDS = sorted((ROOT / "grafana/dashboards").glob("*.json"))
RUNBOOKS = ROOT / "docs/runbooks.md"

# Labels that Prometheus, its rules or a histogram add to what a process exposes.
ADDED_LABELS = {"job", "instance", "le", "slo"}
_SELECTOR = re.compile(r"(?P<name>media_\w+)(?:\{(?P<labels>[^}]*)\})?")
_GROUPING = re.compile(r"\b(?:by|on|group_left)\s*\(([^)]*)\)")


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for path in DASHBOARDS:
        for panel in panels(path):
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]


def series() -> dict[str, Metric]:
    """Every name that a scrape may hold."""
    named = {}
    for spec in CATALOGUE:
        suffixes = ("_bucket", "_count", "_sum") if isinstance(spec, HistogramSpec) else ("",)
        named |= {spec.name + suffix: spec for suffix in suffixes}
    return named


def query_problems(expression: str) -> Iterator[str]:
    known = series()
    labels = set(ADDED_LABELS)
    for match in _SELECTOR.finditer(expression):
        spec = known.get(match["name"])
        if spec is None:
            yield f"{match['name']} is not in the catalogue"
            continue
        labels |= set(spec.labels)
        asked = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", match["labels"] or ""))
        yield from (f"{match['name']} has no label {name}" for name in asked - set(spec.labels) - ADDED_LABELS)
    for names in _GROUPING.findall(expression):
        asked = {name.strip() for name in names.split(",") if name.strip()}
        yield from (f"nothing in the query has the label {name}" for name in asked - labels)
    if re.search(r"\brate\(", expression) and not re.search(r"\[(\$__rate_interval|\d+[smhd])\]", expression):
        yield "a rate without a window"


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_query_asks_for_what_exists(where: str, expression: str) -> None:
    assert list(query_problems(expression)) == [], where


def test_no_metric_has_a_label_that_a_scrape_adds() -> None:
    """Prometheus keeps the scrape's own, renames ours, and no rule that asks for it finds it any more."""
    added = ADDED_LABELS - {"le", "slo"} | {"service", "namespace", "pod", "container", "endpoint", "node"}
    assert [(spec.name, label) for spec in CATALOGUE for label in spec.labels if label in added] == []


def test_what_every_keeper_sees_is_not_added_up() -> None:
    shared = [spec.name for spec in CATALOGUE if isinstance(spec, GaugeSpec) and spec.processes == ("keeper",)]
    asked = [(where, text) for where, text in expressions() if any(name in text for name in shared)]
    assert asked
    assert [where for where, text in asked if "sum" in text] == []


def test_consumers_of_the_same_topic_are_kept_apart() -> None:
    asked = [text for _, text in expressions() if CONSUMER_LAG.name in text]
    assert len(asked) >= 3
    for text in asked:
        assert all("job" in names.split(", ") for names in re.findall(r"by \(([^)]*)\)", text)), text


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("sum(rate(media_nothing_total[5m]))", "media_nothing_total is not in the catalogue"),
        ("media_event_age_seconds", "media_event_age_seconds is not in the catalogue"),
        ('media_claims_total{outcom="stale"}', "media_claims_total has no label outcom"),
        ("sum by (topic) (media_claims_total)", "nothing in the query has the label topic"),
        ("rate(media_claims_total)", "a rate without a window"),
    ],
)
def test_a_query_for_what_does_not_exist_is_found(expression: str, problem: str) -> None:
    assert list(query_problems(expression)) == [problem]


def _sets(spec: Metric, constants: dict[str, str], sources: str) -> bool:
    return re.search(rf"\b{constants[spec.name]}\b", sources) is not None


def test_what_alerts_and_dashboards_watch_is_measured_somewhere() -> None:
    import schemas.metrics as catalogue

    constants = {value.name: name for name, value in vars(catalogue).items() if name.isupper() and value in CATALOGUE}
    packages = ("api", "connectors", "processors", "streams")
    sources = "\n".join(path.read_text() for package in packages for path in (ROOT / package).rglob("*.py"))
    watched = {series()[m["name"]] for _, text in expressions() for m in _SELECTOR.finditer(text)}
    assert sorted(spec.name for spec in watched if not _sets(spec, constants, sources)) == []


def test_every_alert_says_what_how_bad_and_what_to_do() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"(?m)^#+ (.+)$", RUNBOOKS.read_text(encoding="utf-8"))
    }
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, rule["alert"]
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert path == "docs/runbooks.md"
        assert anchor in anchors, rule["alert"]


def test_every_runbook_section_belongs_to_an_alert() -> None:
    sections = {title.lower() for title in re.findall(r"(?m)^### (.+)$", RUNBOOKS.read_text(encoding="utf-8"))}
    assert sections == {rule["annotations"]["runbook_url"].partition("#")[2] for rule in alerts()}


def test_the_burn_rate_rules_are_what_their_table_makes() -> None:
    spec = importlib.util.spec_from_file_location("slo_rules", PROMETHEUS / "slo_rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (PROMETHEUS / "rules/slo.yml").read_text() == module.render(), "run python deploy/prometheus/slo_rules.py"
    assert {objective.slo for objective in module.OBJECTIVES} == SLO_TARGETS.keys()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", *(str(path) for path in RULES)],
        ["test", "rules", "tests/rules.yml"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_prometheus_itself_agrees(arguments: list[str]) -> None:
    ran = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_every_panel_explains_itself(path: Path) -> None:
    board = json.loads(path.read_text())
    assert [variable["type"] for variable in board["templating"]["list"]] == ["datasource"]
    found = panels(path)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in found:
        assert panel["title"], panel["id"]
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            # A fixed window would be wrong for the next zoom.
            assert "rate(" not in target["expr"] or "$__rate_interval" in target["expr"], panel["title"]
    assert not _overlapping(board["panels"])


def _overlapping(placed: list[dict[str, Any]]) -> list[tuple[str, str]]:
    cells: dict[tuple[int, int], str] = {}
    clashes = []
    for panel in placed:
        box = panel["gridPos"]
        for x in range(box["x"], box["x"] + box["w"]):
            for y in range(box["y"], box["y"] + box["h"]):
                if (x, y) in cells:
                    clashes.append((cells[x, y], panel["title"]))
                cells[x, y] = panel["title"]
    return clashes
