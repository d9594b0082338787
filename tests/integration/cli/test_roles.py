"""Whoever begins under the wrong role of the database is told so in a line, before anything is done."""

import pytest
from support import api
from support.commands import medialane

WORKERS = [["run", "media-images"], ["run", "webhooks"], ["run", "keeper"]]
COMMANDS = [
    ["uploads", "sweep", "--apply"], ["tenants", "ls"], ["tenants", "delete", "acme", "--apply"],
    ["secrets", "rotate"], ["reprocess", "--profile", "thumbnail", "--since", "1d"], ["assets", "verify"],
    ["webhooks", "ls"], ["events", "export"],
]  # fmt: skip


@pytest.fixture
def env(database, bucket, tmp_path):
    """The variables of every process at once; the database's is the API's."""
    return api.environment(database, bucket) | {
        "MEDIALANE_WORKER_TEMP_DIR": str(tmp_path),
        "MEDIALANE_CONNECT_URL": "http://127.0.0.1:1",
        "MEDIALANE_TELEMETRY_METRICS_PORT": "0",
    }


@pytest.mark.parametrize("arguments", WORKERS + COMMANDS, ids=" ".join)
def test_under_the_apis_role_nothing_else_begins(env, arguments):
    ran = medialane(env, *arguments)
    assert ran.returncode == 2, ran.stderr
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("medialane: ")]
    assert line.startswith("medialane: MEDIALANE_DATABASE_URL: this is a role that sees one tenant at a time")
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("role", ["worker", "owner"])
def test_the_api_does_not_begin_under_a_role_that_sees_every_tenant(env, database, role):
    ran = medialane(env | {"MEDIALANE_DATABASE_URL": getattr(database, role)}, "run", "api")
    assert ran.returncode == 2, ran.stderr
    assert "row-level security does not confine this role" in ran.stderr.splitlines()[-1]
