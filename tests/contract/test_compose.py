"""docker-compose.yml against the Compose schema, the settings module and the files it names; no engine is needed.

Each check is also run on a copy with the fault that it is there for: a check that cannot fail proves nothing.
"""

import base64
import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import click
import jsonschema
import pytest
import yaml
from support import compose as c

from cli.main import medialane

TEXT = (c.ROOT / "docker-compose.yml").read_text(encoding="utf-8")
RAW = c.parse(TEXT)


@pytest.fixture(scope="module")
def env() -> dict[str, str]:
    """A filled .env; tests/contract/test_make_env.py is about how it is made."""
    example = c.dotenv((c.ROOT / ".env.example").read_text(encoding="utf-8"))
    return {name: value or base64.b64encode(name.encode().ljust(32)[:32]).decode() for name, value in example.items()}


@pytest.fixture
def filled(env: dict[str, str]) -> c.Compose:
    return c.interpolate(copy.deepcopy(RAW), env)


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    text = (c.ROOT / "tests/contract/data/compose-spec.json").read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))


def test_follows_the_compose_specification(schema: jsonschema.Draft202012Validator, filled: c.Compose) -> None:
    assert [error.message for error in schema.iter_errors(filled)] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("services", "api", "restrat"), "no"),
        (("services", "api", "stop_grace_period"), 45),
        (("services", "api", "depends_on"), {"s3": {"condition": "healthy"}}),
        (("networks",), []),
    ],
)
def test_the_schema_refuses_what_compose_would(
    schema: jsonschema.Draft202012Validator, filled: c.Compose, path: tuple[str, ...], value: Any
) -> None:
    _set(filled, path, value)
    assert list(schema.iter_errors(filled)) != []


CHECKS: dict[str, Callable[[c.Compose], Iterator[str]]] = {
    "settings": c.setting_problems,
    "dependencies": c.dependency_problems,
    "restarts": c.restart_problems,
    "networks": c.network_problems,
    "hosts": c.hosts_problems,
    "images": c.image_problems,
    "limits": c.limit_problems,
    "mounts": c.mount_problems,
}


@pytest.mark.parametrize("name", CHECKS)
def test_nothing_is_wrong_with(name: str, filled: c.Compose) -> None:
    assert list(CHECKS[name](filled)) == []


FAULTS: list[tuple[str, tuple[str, ...], Any, str]] = [
    ("settings", ("services", "api", "environment", "MEDIALANE_API_PROT"), "1", "api: MEDIALANE_API_PROT is no setting"),
    ("settings", ("services", "keeper", "environment", "MEDIALANE_DATABASE_URL"), "", "MEDIALANE_DATABASE_URL is not set"),
    ("settings", ("services", "api", "environment", "MEDIALANE_API_PORT"), "eighty", "MEDIALANE_API_PORT="),
    ("settings", ("services", "webhooks", "command"), ["run", "keeper"], "no service runs webhooks"),
    ("settings", ("services", "webhooks", "command"), ["run", "web"], "web is no process"),
    ("dependencies", ("services", "api", "depends_on", "s4"), {"condition": "service_healthy"}, "s4, which is no service"),
    ("dependencies", ("services", "s3", "healthcheck"), {"disable": True}, "s3, which has no check"),
    ("dependencies", ("services", "topics", "restart"), "always", "topics, which is restarted for ever"),
    ("restarts", ("services", "api", "stop_grace_period"), "30s", "api is killed after 30.0 s but drains for 30 s"),
    ("restarts", ("services", "api", "restart"), "no", "api: restart is no"),
    ("networks", ("services", "s3", "networks"), ["edge"], "media-images cannot reach s3"),
    ("networks", ("services", "media-video", "networks"), ["inner", "edge"], "media-video decodes untrusted bytes"),
    ("networks", ("services", "api", "networks"), ["inner"], "api publishes ports"),
    ("hosts", ("services", "api", "environment", "MEDIALANE_S3_ENDPOINT"), "http://s4:1", "points at s4"),
    ("hosts", ("services", "topics", "environment", "MEDIALANE_KAFKA_BROKERS"), "kaffka:1", "points at kaffka"),
    ("images", ("services", "s3", "image"), "chrislusf/seaweedfs", "s3: its image has no version"),
    ("images", ("services", "api", "cap_drop"), [], "api may gain privileges"),
    ("limits", ("services", "media-video", "mem_limit"), "512m", "media-video has no room for a child of 1024 MiB"),
    ("limits", ("services", "media-images", "pids_limit"), -1, "media-images decodes untrusted bytes and may start any"),
    ("mounts", ("services", "roles", "volumes"), ["./nothing.sql:/roles.sql"], "./nothing.sql, which does not exist"),
    ("mounts", ("services", "s3", "volumes"), ["s4-data:/data"], "s4-data, which is not declared"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "path", "value", "problem"), FAULTS)
def test_each_check_finds_its_fault(
    name: str, path: tuple[str, ...], value: Any, problem: str, filled: c.Compose
) -> None:
    _set(filled, path, value)
    assert any(problem in found for found in CHECKS[name](filled))


def test_no_secret_stands_in_the_file() -> None:
    assert list(c.secret_problems(RAW)) == []


@pytest.mark.parametrize("value", ["hunter2", "${GRAFANA_PASSWORD}", "${GRAFANA_PASSWORD:-admin}"])
def test_a_secret_in_the_file_is_found(value: str) -> None:
    faulty = copy.deepcopy(RAW)
    _set(faulty, ("services", "grafana", "environment", "GF_SECURITY_ADMIN_PASSWORD"), value)
    assert list(c.secret_problems(faulty)) == ["grafana: GF_SECURITY_ADMIN_PASSWORD must come from a required variable"]


def test_without_a_secret_it_refuses_to_start(env: dict[str, str]) -> None:
    with pytest.raises(c.MissingVariableError, match=r"^S3_SECRET_KEY: run deploy/container/make-env\.sh"):
        c.interpolate(RAW, env | {"S3_SECRET_KEY": ""})


def test_every_required_variable_is_in_the_example() -> None:
    example = c.dotenv((c.ROOT / ".env.example").read_text(encoding="utf-8"))
    required = {match["name"] for match in c._VARIABLE.finditer(TEXT) if match["kind"] == "?"}
    assert required == {name for name, value in example.items() if value == ""}
    assert example.keys() <= c.variables(TEXT)


def test_the_example_tells_of_every_variable() -> None:
    told = set(re.findall(r"(?m)^(?:# )?([A-Z][A-Z0-9_]+)[=:]", (c.ROOT / ".env.example").read_text(encoding="utf-8")))
    assert told == c.variables(TEXT)


def test_every_process_is_scraped(filled: c.Compose) -> None:
    config = yaml.safe_load((c.ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    scraped = {
        target for job in config["scrape_configs"] for names in job.get("dns_sd_configs", []) for target in
        ((name, names["port"]) for name in names["names"])
    }  # fmt: skip
    serving = {
        (name, int(env.get("MEDIALANE_TELEMETRY_METRICS_PORT") or env["MEDIALANE_API_PORT"]))
        for name, service in filled["services"].items()
        if c.process_of(service) is not None and service["command"][0] == "run"
        for env in [c.environment(service)]
    }
    assert scraped == serving


def test_every_command_exists(filled: c.Compose) -> None:
    for name, service in filled["services"].items():
        if c.process_of(service) is not None:
            assert _resolves(medialane, service["command"]), name
    assert not _resolves(medialane, ["topics", "aply"])


def test_durability_stays_on(filled: c.Compose) -> None:
    flags = set(filled["services"]["postgres"]["command"])
    assert "-cwal_level=logical" in flags
    assert not [flag for flag in flags if flag.startswith(("-cfsync", "-csynchronous_commit", "-cfull_page_writes"))]


def _resolves(command: click.Command, words: list[str]) -> bool:
    """Whether every word but a last command's own arguments names a subcommand."""
    if not isinstance(command, click.Group):
        return True
    found = command.get_command(click.Context(command), words[0]) if words else None
    return found is not None and _resolves(found, words[1:])


def _set(tree: Any, path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        # Merge keys share nodes: a fault belongs to one service only.
        tree[key] = copy.copy(tree[key])
        tree = tree[key]
    tree[path[-1]] = value
