"""Reads docker-compose.yml as Compose would, without an engine: merge keys, then variables; and finds what is wrong.

Every check takes the parsed file and yields problems, so that a test can also show that each check finds its fault.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from schemas.settings import PREFIX, PROCESSES, SettingsError, ShutdownSettings, load, variable
from streams.cores import CHILD_MIB

ROOT = Path(__file__).resolve().parents[2]
# $$, ${NAME}, ${NAME:-default}, ${NAME:?message}
_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")
_SECRET = re.compile(r"PASSWORD|SECRET|_KEY$|_URL$|ACCESS_KEY")
_DURATION = re.compile(r"(?P<number>\d+)(?P<unit>ms|s|m)")

Compose = dict[str, Any]


class MissingVariableError(Exception):
    """`${NAME:?message}` without a value."""


def parse(text: str) -> Compose:
    """The file with its anchors and merge keys resolved and its variables still in place."""
    parsed = yaml.safe_load(text)
    assert isinstance(parsed, dict)
    return parsed


def dotenv(text: str) -> dict[str, str]:
    """The variables of a .env file."""
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def interpolate(node: Any, env: Mapping[str, str]) -> Any:
    """The tree with every `${...}` replaced. Raises `MissingVariableError` as Compose would refuse to start."""
    if isinstance(node, dict):
        return {key: interpolate(value, env) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolate(value, env) for value in node]
    return _VARIABLE.sub(lambda match: _value(match, env), node) if isinstance(node, str) else node


def variables(text: str) -> set[str]:
    """The names that the file takes from its environment."""
    return {match["name"] for match in _VARIABLE.finditer(text) if match["name"]}


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    """A service's variables."""
    return {key: str(value) for key, value in (service.get("environment") or {}).items()}


def process_of(service: Mapping[str, Any]) -> str | None:
    """Which of the settings module's processes a service runs, None if it is not Medialane's."""
    if service.get("image") != "medialane:local":
        return None
    command = service["command"]
    return str(command[1] if command[0] == "run" else command[0])


def setting_problems(compose: Compose) -> Iterator[str]:
    """Variables that no setting of the process knows, required ones that are absent, and values that do not load."""
    running = {name: process_of(service) for name, service in compose["services"].items()}
    yield from (f"no service runs {process}" for process in PROCESSES.keys() - set(running.values()))
    for name, process in running.items():
        if process is None:
            continue
        if process not in PROCESSES:
            yield f"{name}: {process} is no process of the settings module"
            continue
        env = {key: value for key, value in environment(compose["services"][name]).items() if key.startswith(PREFIX)}
        known = {variable(group, field.name) for group in PROCESSES[process] for field in msgspec.structs.fields(group)}
        yield from (f"{name}: {key} is no setting of {process}" for key in env.keys() - known)
        for group in PROCESSES[process]:
            try:
                load(group, env)
            except SettingsError as error:
                yield from (f"{name}: {problem}" for problem in error.problems)


def dependency_problems(compose: Compose) -> Iterator[str]:
    """Services that wait for what does not exist, for the health of what has no check, or for the end of a server."""
    services = compose["services"]
    for name, service in services.items():
        for wanted, how in (service.get("depends_on") or {}).items():
            other = services.get(wanted)
            if other is None:
                yield f"{name} waits for {wanted}, which is no service"
            elif how["condition"] == "service_healthy" and not _has_check(other):
                yield f"{name} waits for the health of {wanted}, which has no check"
            elif how["condition"] == "service_completed_successfully" and other.get("restart") != "no":
                yield f"{name} waits for the end of {wanted}, which is restarted for ever"


def restart_problems(compose: Compose) -> Iterator[str]:
    """Servers that are not restarted, and processes that are killed before their drain time is over."""
    waited_for = {
        wanted
        for service in compose["services"].values()
        for wanted, how in (service.get("depends_on") or {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    for name, service in compose["services"].items():
        if service.get("restart") != ("no" if _is_job(name, service, waited_for) else "unless-stopped"):
            yield f"{name}: restart is {service.get('restart')}"
        drain = environment(service).get(variable(ShutdownSettings, "drain_timeout"))
        grace = seconds(service.get("stop_grace_period", "10s"))
        if drain is not None and grace <= float(drain):
            yield f"{name} is killed after {grace} s but drains for {drain} s"


def secret_problems(raw: Compose) -> Iterator[str]:
    """Secrets that stand in the file, or that start empty instead of refusing; of the file before interpolation."""
    for name, service in raw["services"].items():
        for key, value in environment(service).items():
            if _SECRET.search(key) and not _is_plain_address(value) and ":?" not in value:
                yield f"{name}: {key} must come from a required variable"


def network_problems(compose: Compose) -> Iterator[str]:
    """Services that depend on one another without a network in common, and decoders with a way out."""
    services = compose["services"]
    nets = {name: set(service["networks"]) for name, service in services.items()}
    inner = {name for name, options in compose["networks"].items() if (options or {}).get("internal")}
    for name, service in services.items():
        yield from (
            f"{name} cannot reach {wanted}"
            for wanted in service.get("depends_on") or {}
            if wanted in nets and not nets[name] & nets[wanted]
        )
        if (process_of(service) or "").startswith("media-") and not nets[name] <= inner:
            yield f"{name} decodes untrusted bytes and has a way out of the stack"
        if service.get("ports") and nets[name] <= inner:
            yield f"{name} publishes ports but has no network for them"


def hosts_problems(compose: Compose) -> Iterator[str]:
    """Addresses in variables whose host is no service."""
    for name, service in compose["services"].items():
        for key, value in environment(service).items():
            if not key.startswith(PREFIX) or "PUBLIC" in key:
                continue
            host = (
                urlsplit(value).hostname if "://" in value else value.split(":")[0] if key.endswith("BROKERS") else None
            )
            if host is not None and host not in compose["services"]:
                yield f"{name}: {key} points at {host}, which is no service"


def image_problems(compose: Compose) -> Iterator[str]:
    """Images without a version, and containers that could gain privileges."""
    for name, service in compose["services"].items():
        tag = service.get("image", "").partition(":")[2]
        if tag in {"", "latest"}:
            yield f"{name}: its image has no version"
        if process_of(service) is not None and (
            service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", [])
        ):
            yield f"{name} may gain privileges"


def limit_problems(compose: Compose) -> Iterator[str]:
    """Decoders that could take all of the machine's memory or processes, or have no room for one child."""
    for name, service in compose["services"].items():
        if not (process_of(service) or "").startswith("media-"):
            continue
        if "mem_limit" not in service:
            yield f"{name} decodes untrusted bytes and may take all memory"
        elif _mib(service["mem_limit"]) < CHILD_MIB:
            yield f"{name} has no room for a child of {CHILD_MIB} MiB"
        if not service.get("pids_limit", 0) > 0:
            yield f"{name} decodes untrusted bytes and may start any number of processes"


def mount_problems(compose: Compose, root: Path = ROOT) -> Iterator[str]:
    """Mounts of files that are not in the repository, and named volumes that are not declared."""
    for name, service in compose["services"].items():
        for mount in service.get("volumes", []):
            source, _, target = mount.partition(":")
            if source.startswith("."):
                if not (root / source).exists():
                    yield f"{name} mounts {source}, which does not exist"
            elif target and source not in compose["volumes"]:
                yield f"{name} mounts the volume {source}, which is not declared"


def seconds(duration: str) -> float:
    """A Compose duration (`1m30s`) in seconds."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0}
    return sum(int(match["number"]) * units[match["unit"]] for match in _DURATION.finditer(duration))


def _value(match: re.Match[str], env: Mapping[str, str]) -> str:
    if match["name"] is None:
        return "$"
    value = env.get(match["name"], "")
    if value == "" and match["kind"] == "?":
        raise MissingVariableError(f"{match['name']}: {match['rest']}")
    return value if value or match["kind"] != "-" else match["rest"]


def _mib(size: str) -> float:
    return int(size[:-1]) * {"m": 1, "g": 1024}[size[-1]]


def _has_check(service: Mapping[str, Any]) -> bool:
    check = service.get("healthcheck")
    if check is not None:
        return "test" in check and not check.get("disable")
    # Our own images carry their check.
    build = service.get("build")
    return build is not None and "\nHEALTHCHECK " in (ROOT / build["dockerfile"]).read_text(encoding="utf-8")


def _is_job(name: str, service: Mapping[str, Any], waited_for: set[str]) -> bool:
    process = process_of(service)
    return name in waited_for or (process is not None and service["command"][0] != "run")


def _is_plain_address(value: str) -> bool:
    return "://" in value and "@" not in value
