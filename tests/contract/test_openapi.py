"""The OpenAPI document: committed as the code says it, whole, and true about errors and keys."""

import json

import jsonschema
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator, FormatChecker

from api.document.offline import FILE, openapi_text
from api.examples.errors import BY_STATUS
from cli.schemas import schemas
from schemas.events import EVENT_TYPES
from schemas.generate import FOLDER
from schemas.profiles import ACCEPTED_TYPES
from streams.webhooks.message import body_of, read_event

OPERATIONS = {
    "readProfiles", "chooseProfiles", "readUsage", "chooseVariant", "readOriginal", "readMedia",
    "presignUpload", "completeAsset", "completeAssetByGet", "readAsset", "listAssets",
    "registerWebhook", "listWebhooks", "deleteWebhook", "healthz", "readyz",
    "readWebhook", "changeWebhook", "rotateWebhookSecret", "testWebhook",
    "listDeliveries", "readDelivery", "resendDelivery", "recoverWebhook",
    "mintKey", "listKeys", "revokeKey", "rotateKey",
    "pullAsset", "completeAssets", "presignAgain", "changeAsset", "cancelAsset", "deleteAsset", "streamEvents",
    "processAsset",
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
                assert entry["responses"]["401"] == {"$ref": "#/components/responses/Error401"}
            else:
                assert "security" not in entry, path


def test_errors_have_both_shapes_on_every_route(document):
    for path, methods in document["paths"].items():
        for entry in methods.values():
            for status, response in entry["responses"].items():
                if path.startswith("/api/") and int(status) >= 400:
                    assert response == {"$ref": f"#/components/responses/Error{status}"}, path
    assert [list(error["content"]) for error in document["components"]["responses"].values()] == [
        ["application/json", "application/problem+json"]
    ] * len(BY_STATUS)


def test_every_operation_shows_what_is_asked_and_answered_as_its_schemas_have_it(document):
    shown = [
        (entry["operationId"], content)
        for entry in operations(document)
        for part in (entry.get("requestBody", {}), *entry["responses"].values())
        for content in part.get("content", {}).values()
    ]
    assert {name for name, _ in shown} == OPERATIONS
    errors = [
        content for error in document["components"]["responses"].values() for content in error["content"].values()
    ]
    for name, content in [*shown, *(("error", content) for content in errors)]:
        whole = content["schema"] | {"components": document["components"]}
        jsonschema.validate(content["example"], whole, Draft202012Validator, format_checker=FormatChecker())
        assert content["example"] is not None, name


def test_every_event_is_a_webhook_with_an_example(document):
    assert set(document["webhooks"]) == set(EVENT_TYPES)
    for name, item in document["webhooks"].items():
        content = item["post"]["requestBody"]["content"]["application/json"]
        whole = content["schema"] | {"components": document["components"]}
        jsonschema.validate(content["example"], whole, Draft202012Validator, format_checker=FormatChecker())
        assert content["example"]["type"] == content["example"]["data"]["type"] == name
        envelope = read_event(json.dumps(content["example"]["data"]).encode(), None)
        assert json.loads(body_of(envelope)) == content["example"]


def test_the_bounds_inside_lists_and_optionals_are_told(document):
    schemas = document["components"]["schemas"]
    assert schemas["PresignRequest"]["properties"]["tags"]["items"]["maxLength"] == 64
    assert schemas["AssetChange"]["properties"]["metadata"]["anyOf"][0]["maxProperties"] == 20
    listed = schemas["KeyPage"]["properties"]["data"]["items"]
    assert listed == {"$ref": "#/components/schemas/KeyOut"}


def test_times_and_event_types_are_told(document):
    schemas = document["components"]["schemas"]
    named = {
        (name, key): shown
        for name, schema in schemas.items()
        for key, shown in schema.get("properties", {}).items()
        if key.endswith("At") or key in {"time", "timestamp"}
    }
    assert len(named) > 20
    for place, shown in named.items():
        if place != ("PresignedUpload", "expiresAt"):  # Unix seconds
            assert shown.get("anyOf", [shown])[0].get("format") == "date-time", place
    assert schemas["EndpointRequest"]["properties"]["events"]["items"]["enum"] == [*EVENT_TYPES, "*"]


def test_uploads_say_which_types_are_accepted(document):
    schemas = document["components"]["schemas"]
    pulled = schemas["PullRequest"]["properties"]["contentType"]["anyOf"][0]
    for shown in (
        schemas["PresignRequest"]["properties"]["contentType"], schemas["MultipartRequest"]["properties"]["type"], pulled
    ):  # fmt: skip
        assert shown["description"].endswith(f"One of: {', '.join(ACCEPTED_TYPES)}")


def test_answers_tell_their_headers(document):
    errors = document["components"]["responses"]
    told = {name for error in errors.values() for name in error["headers"]}
    assert {"traceparent", "X-Trace-Id", "RateLimit", "RateLimit-Policy", "WWW-Authenticate"} < told
    assert {status for status, error in errors.items() if "Retry-After" in error["headers"]} == {
        "Error409", "Error429", "Error503",
    }  # fmt: skip
    for path, methods in document["paths"].items():
        for entry in methods.values():
            once = any(parameter["name"] == "Idempotency-Key" for parameter in entry.get("parameters", ()))
            for status, response in entry["responses"].items():
                if "$ref" in response:
                    continue
                assert {"traceparent", "X-Trace-Id"} <= set(response["headers"]), path
                assert ("Location" in response["headers"]) == (status == "307"), path
                assert ("Idempotent-Replayed" in response["headers"]) == once, path
                assert ("RateLimit" in response["headers"]) == path.startswith("/api/"), path


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
