"""The OpenAPI document: committed as the code says it, whole, and true about errors and keys."""

import json

import pytest
from click.testing import CliRunner

from api.openapi import FILE, openapi_text
from cli.schemas import schemas
from schemas.generate import FOLDER

OPERATIONS = {
    "readProfiles", "chooseProfiles", "readUsage",
    "presignUpload", "completeAsset", "completeAssetByGet", "readAsset", "listAssets",
    "registerWebhook", "listWebhooks", "deleteWebhook", "healthz", "readyz",
    "mintKey", "listKeys", "revokeKey", "rotateKey",
    "completeAssets", "presignAgain", "changeAsset", "cancelAsset", "deleteAsset", "streamEvents",
    "createMultipart", "listParts", "signParts", "signPart", "completeMultipart", "abortMultipart",
}  # fmt: skip


@pytest.fixture(scope="module")
def document():
    return json.loads(openapi_text())


def operations(document):
    return [entry for methods in document["paths"].values() for entry in methods.values()]


def test_the_committed_document_is_that_of_the_code():
    assert (FOLDER / FILE).read_text(encoding="utf-8") == openapi_text()


def test_check_notices_a_document_that_is_not(tmp_path):
    assert CliRunner().invoke(schemas, ["generate", "--folder", str(tmp_path)]).exit_code == 0
    assert CliRunner().invoke(schemas, ["check", "--folder", str(tmp_path)]).exit_code == 0
    (tmp_path / FILE).write_text("{}\n")
    checked = CliRunner().invoke(schemas, ["check", "--folder", str(tmp_path)])
    assert (checked.exit_code, checked.output) == (1, f"{FILE} is out of date: run `medialane schemas generate`\n")


def test_it_is_openapi_3_1_with_stable_operation_ids(document):
    assert document["openapi"].startswith("3.1.")
    assert {entry["operationId"] for entry in operations(document)} == OPERATIONS


def test_every_route_of_a_tenant_needs_a_key_and_shows_its_errors(document):
    for path, methods in document["paths"].items():
        for entry in methods.values():
            if path.startswith("/api/"):
                assert entry["security"] == [{"apiKey": []}], path
                assert {"401", "403", "500", "503"} <= set(entry["responses"]), path
                failure = entry["responses"]["401"]["content"]["application/json"]["schema"]["$ref"]
                assert failure.endswith("/Failure")
            else:
                assert "security" not in entry, path


def test_every_reference_resolves(document):
    def references(node):
        if isinstance(node, dict):
            yield from [node["$ref"]] if "$ref" in node else []
            for child in node.values():
                yield from references(child)
        elif isinstance(node, list):
            for child in node:
                yield from references(child)

    for reference in set(references(document)):
        place = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]
