"""Settings: an address, a file or a folder that is none, and values that do not fit together, name their variables."""

import subprocess
import sys
from pathlib import Path

import pytest

from schemas.settings import (
    ApiSettings,
    ConnectSettings,
    DatabaseSettings,
    KafkaSettings,
    KeeperSettings,
    MigrationSettings,
    ObjectStoreSettings,
    ProcessorSettings,
    PullSettings,
    SettingsError,
    TelemetrySettings,
    UsageSettings,
    WebhookSettings,
    WorkerSettings,
    load,
)

_S3 = {"MEDIALANE_S3_BUCKET": "b", "MEDIALANE_S3_ACCESS_KEY": "a", "MEDIALANE_S3_SECRET_KEY": "s"}
_KAFKA = {"MEDIALANE_KAFKA_BROKERS": "kafka:9092"}
_SASL = {
    "MEDIALANE_KAFKA_SASL_MECHANISM": "PLAIN",
    "MEDIALANE_KAFKA_SASL_USERNAME": "u",
    "MEDIALANE_KAFKA_SASL_PASSWORD": "p",
}
_SEALED = {"MEDIALANE_WEBHOOK_ENCRYPTION_KEY": "any"}
_POSTGRES = ("garbage", "postgres://a:b@h/x", "mysql://h/x", "postgresql://h:none/x", "postgresql://a:b@h1:1,h2:2/x")


def problems(group, env):
    with pytest.raises(SettingsError) as caught:
        load(group, env)
    return caught.value.problems


@pytest.mark.parametrize("group", [DatabaseSettings, MigrationSettings])
@pytest.mark.parametrize("address", _POSTGRES)
def test_what_is_no_address_of_postgres_names_its_variable_and_hides_the_value(group, address):
    name = "MEDIALANE_DATABASE_URL" if group is DatabaseSettings else "MEDIALANE_MIGRATION_DATABASE_URL"
    assert problems(group, {name: address}) == (
        f"{name}=(hidden) is not valid: write it as postgresql://user:password@host:port/name",
    )


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:p%40ss@host:5432/name?sslmode=verify-full",
        "postgresql+psycopg://host/name",
        "postgresql://u:a/b?c#d@host/name",  # SQLAlchemy takes a password as it is
        "postgresql://u@[::1]:5432/name",
        "postgresql:///name?host=/run/postgresql",
    ],
)
def test_every_address_that_sqlalchemy_takes_is_good(address):
    assert load(DatabaseSettings, {"MEDIALANE_DATABASE_URL": address}).url == address


@pytest.mark.parametrize("address", ["s3:8333", "nonsense", "http://", "http://h:port", "http://h:99999", "ftp://h"])
@pytest.mark.parametrize(
    ("group", "name", "others"),
    [
        (ObjectStoreSettings, "MEDIALANE_S3_ENDPOINT", _S3),
        (ObjectStoreSettings, "MEDIALANE_S3_PUBLIC_ENDPOINT", _S3 | {"MEDIALANE_S3_ENDPOINT": "http://s3:8333"}),
        (ConnectSettings, "MEDIALANE_CONNECT_URL", {}),
        (ApiSettings, "MEDIALANE_API_PUBLIC_ENDPOINT", {}),
        (TelemetrySettings, "MEDIALANE_TELEMETRY_OTLP_ENDPOINT", {}),
    ],
)
def test_what_is_no_address_of_a_server_names_its_variable(group, name, others, address):
    (problem,) = problems(group, others | {name: address})
    assert problem.startswith(f"{name}=")


@pytest.mark.parametrize("address", ["http://s3:8333", "https://[::1]:8333", "https://s3.eu-1.example.com"])
def test_addresses_that_s3_clients_take_are_good(address):
    assert load(ObjectStoreSettings, _S3 | {"MEDIALANE_S3_ENDPOINT": address}).endpoint == address


def test_a_host_that_s3_clients_refuse_is_said_before_they_do():
    (problem,) = problems(ObjectStoreSettings, _S3 | {"MEDIALANE_S3_ENDPOINT": "http://object_store:8333"})
    assert "letters, digits, dots and hyphens" in problem
    assert load(ConnectSettings, {"MEDIALANE_CONNECT_URL": "http://kafka_connect:8083"}).url


@pytest.mark.parametrize("brokers", ["http://kafka:9092", "kafka:port", "kafka:0", "a:1,,b:2", "a:1 b:2"])
def test_what_is_no_list_of_brokers_names_its_variable(brokers):
    (problem,) = problems(KafkaSettings, {"MEDIALANE_KAFKA_BROKERS": brokers})
    assert problem.startswith(f"MEDIALANE_KAFKA_BROKERS={brokers!r} is not valid")


def test_a_list_of_brokers_may_have_spaces_and_addresses_of_both_kinds():
    assert load(KafkaSettings, {"MEDIALANE_KAFKA_BROKERS": "kafka_1:9092, 10.0.0.1:9092,[::1]:9092"}).brokers


def test_a_file_that_cannot_be_read_or_is_no_pem_names_its_variable(tmp_path):
    name = "MEDIALANE_KAFKA_TLS_CA_FILE"
    (problem,) = problems(KafkaSettings, _KAFKA | {name: "/nope"})
    assert problem == f"{name}='/nope' is not valid: the file cannot be read: No such file or directory"
    file = tmp_path / "ca.pem"
    file.write_text("something else", encoding="ascii")
    (problem,) = problems(KafkaSettings, _KAFKA | {name: str(file)})
    assert problem.endswith("there is nothing in PEM in the file")
    file.write_text("-----BEGIN CERTIFICATE-----", encoding="ascii")
    assert load(KafkaSettings, _KAFKA | {name: str(file)}).tls_ca_file == str(file)


@pytest.mark.parametrize("group", [WorkerSettings, PullSettings])
def test_a_folder_that_cannot_be_made_names_its_variable(group, tmp_path):
    name = "MEDIALANE_WORKER_TEMP_DIR" if group is WorkerSettings else "MEDIALANE_PULL_TEMP_DIR"
    (tmp_path / "file").touch()
    (problem,) = problems(group, {name: str(tmp_path / "file" / "below")})
    assert problem.startswith(f"{name}=")
    assert load(group, {name: str(tmp_path / "new" / "below")}).temp_dir
    assert not (tmp_path / "new").exists()


def test_a_folder_that_may_not_even_be_looked_at_names_its_variable(monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", closed)
    (problem,) = problems(WorkerSettings, {"MEDIALANE_WORKER_TEMP_DIR": "/closed/below"})
    assert problem.endswith("the folder cannot be looked at: Permission denied")


@pytest.mark.parametrize("absent", sorted(_SASL))
def test_sasl_needs_all_that_is_said_of_it(absent):
    env = _KAFKA | _SASL | {"MEDIALANE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
    assert load(KafkaSettings, env).sasl_username == "u"
    del env[absent]
    assert problems(KafkaSettings, env) == (f"MEDIALANE_KAFKA_SECURITY_PROTOCOL=SASL_SSL needs {absent}",)


def test_a_certificate_and_its_key_need_one_another(tmp_path):
    file = tmp_path / "key.pem"
    file.write_text("-----BEGIN PRIVATE KEY-----", encoding="ascii")
    (problem,) = problems(KafkaSettings, _KAFKA | {"MEDIALANE_KAFKA_TLS_KEY_FILE": str(file)})
    assert problem == "MEDIALANE_KAFKA_TLS_CERT_FILE and MEDIALANE_KAFKA_TLS_KEY_FILE need one another"


@pytest.mark.parametrize("absent", ["MEDIALANE_S3_ACCESS_KEY", "MEDIALANE_S3_SECRET_KEY"])
def test_a_key_of_the_object_store_and_its_secret_need_one_another(absent):
    env = _S3 | {"MEDIALANE_S3_ENDPOINT": "http://s3:8333"}
    del env[absent]
    assert problems(ObjectStoreSettings, env) == (
        "MEDIALANE_S3_ACCESS_KEY and MEDIALANE_S3_SECRET_KEY need one another",
    )
    without = load(ObjectStoreSettings, {name: value for name, value in env.items() if not name.endswith("_KEY")})
    assert (without.access_key, without.secret_key) == (None, None)


def test_a_password_of_connect_needs_a_user():
    env = {"MEDIALANE_CONNECT_URL": "http://connect:8083", "MEDIALANE_CONNECT_PASSWORD": "p"}
    assert problems(ConnectSettings, env) == ("MEDIALANE_CONNECT_PASSWORD needs MEDIALANE_CONNECT_USERNAME",)


def test_a_heartbeat_must_come_twice_within_a_lease():
    (problem,) = problems(WorkerSettings, {"MEDIALANE_WORKER_HEARTBEAT_S": "5"})
    assert "MEDIALANE_WORKER_HEARTBEAT_S=5" in problem
    assert "MEDIALANE_WORKER_LEASE_S=10" in problem
    assert load(WorkerSettings, {"MEDIALANE_WORKER_HEARTBEAT_S": "4.9"}).heartbeat_s == 4.9


@pytest.mark.parametrize(
    ("command", "env"),
    [
        (["tenants", "ls"], {"MEDIALANE_DATABASE_URL": "postgres://a:b@h/x"}),
        (["topics", "plan"], _KAFKA | {"MEDIALANE_KAFKA_TLS_CA_FILE": "/nope"}),
        (["migrate"], {"MEDIALANE_MIGRATION_DATABASE_URL": "garbage"}),
    ],
)
def test_a_command_with_a_bad_setting_is_one_line_and_exits_with_2(command, env):
    ran = subprocess.run(
        [sys.executable, "-m", "cli.main", *command], env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("medialane: MEDIALANE_")


@pytest.mark.parametrize(
    ("group", "env"),
    [
        (KeeperSettings, {"MEDIALANE_KEEPER_OUTBOX_RETENTION_S": "inf"}),
        (KeeperSettings, {"MEDIALANE_KEEPER_KEY_RETENTION_S": "1e15"}),
        (UsageSettings, {"MEDIALANE_USAGE_WINDOW_S": "inf"}),
        (ProcessorSettings, {"MEDIALANE_PROCESSOR_MEMORY_MB": "9" * 20}),
        (ProcessorSettings, {"MEDIALANE_PROCESSOR_MAX_TEMP_BYTES": "9" * 400}),
        (WebhookSettings, _SEALED | {"MEDIALANE_WEBHOOK_SCHEDULE_S": "5,nan"}),
        (WebhookSettings, _SEALED | {"MEDIALANE_WEBHOOK_SCHEDULE_S": "5,inf"}),
        (WebhookSettings, _SEALED | {"MEDIALANE_WEBHOOK_SCHEDULE_S": "-1"}),
        (ApiSettings, {"MEDIALANE_API_HOST": "nowhere.invalid"}),
        (ObjectStoreSettings, {"MEDIALANE_S3_ENDPOINT": "http://s3"} | _S3 | {"MEDIALANE_S3_REGION": "no such"}),
        (ObjectStoreSettings, {"MEDIALANE_S3_ENDPOINT": "http://s3"} | _S3 | {"MEDIALANE_S3_BUCKET": "a/b"}),
        (KafkaSettings, _KAFKA | {"MEDIALANE_KAFKA_TOPIC_PREFIX": "a b"}),
        (ApiSettings, {"MEDIALANE_API_HOST": "a..b"}),
        (TelemetrySettings, {"MEDIALANE_TELEMETRY_METRICS_HOST": "999.1.1.1"}),
    ],
)
def test_what_no_clock_no_counter_and_no_port_takes_is_refused(group, env):
    (problem,) = problems(group, env)
    named = problem.partition("=")[0]
    assert named in env
    assert " is not valid: " in problem
