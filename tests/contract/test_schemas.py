"""The published payloads: the committed schemas are the code's, and every shape that was ever released is still read."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from schemas import generate
from schemas.events import EVENT_TYPES, decode_event, encode_event
from streams.webhooks.message import body_of, read_event

GOLDEN = Path(__file__).parent / "golden"
CONNECTOR = Path(__file__).resolve().parents[2] / "connectors/debezium/connector.json"
STRUCTS = generate.payloads()
# Of a shape that grew, another one: `asset.ready+words` has what came later.
SHAPES = {path.stem: path.stem.partition("+")[0] for path in sorted(GOLDEN.glob("*.json"))}


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def published(name):
    return json.loads((generate.FOLDER / f"{name}.schema.json").read_text())


def test_the_committed_schemas_are_those_of_the_code():
    assert generate.outdated(generate.FOLDER, generate.documents()) == []


def test_a_stale_or_missing_file_is_noticed(tmp_path):
    generate.write(tmp_path, generate.documents())
    (tmp_path / "asset.ready.schema.json").write_text("{}\n")
    (tmp_path / "asyncapi.json").unlink()
    assert sorted(generate.outdated(tmp_path, generate.documents())) == ["asset.ready.schema.json", "asyncapi.json"]
    assert generate.main(["--check", str(tmp_path)]) == 1


def test_every_payload_has_a_golden_one():
    assert set(SHAPES.values()) == set(STRUCTS) <= set(SHAPES)


@pytest.mark.parametrize(("shape", "name"), SHAPES.items())
def test_golden_payloads_are_read_and_written_as_they_were(shape, name):
    """Additive change only: what was written then is read now, and nothing of it is lost or renamed."""
    old = golden(shape)
    again = json.loads(msgspec.json.encode(msgspec.convert(old, STRUCTS[name])))
    assert {key: again[key] for key in old} == old
    jsonschema.validate(old, published(name), format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_a_payload_with_a_field_of_the_future_is_still_read(name):
    msgspec.convert(golden(name) | {"added_later": {"anything": 1}}, STRUCTS[name])


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_events_are_told_apart_by_their_type(name):
    event = decode_event(json.dumps(golden(name)))
    assert type(event) is EVENT_TYPES[name]
    assert decode_event(encode_event(event)) == event
    with pytest.raises(msgspec.ValidationError):
        decode_event(json.dumps(golden(name) | {"type": "asset.unheard_of"}))


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_the_schemas_refuse_what_lacks_a_field(name):
    required = published(name)["$defs"][STRUCTS[name].__name__]["required"]
    broken = golden(name)
    del broken[required[-1]]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, published(name))


def test_every_reference_of_the_asyncapi_document_resolves():
    document = generate.asyncapi()

    def references(node):
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for child in node.values():
                yield from references(child)
        elif isinstance(node, list):
            for child in node:
                yield from references(child)

    found = set(references(document))
    assert len(found) > len(STRUCTS)
    for reference in found:
        place = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


def told(name, key):
    return generate.asyncapi()["components"]["messages"][name][key]


def is_a_body(event):
    document = generate.asyncapi()
    whole = {"$ref": "#/components/schemas/WebhookBody", "components": document["components"]}
    body = json.loads(body_of(read_event(json.dumps(event).encode(), None)))
    return jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker()).is_valid(body)


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_a_deliverys_body_is_as_the_asyncapi_document_has_it(name):
    assert is_a_body(golden(name))
    broken = golden(name)
    del broken["generation"]
    assert not is_a_body(broken)


def test_a_deliverys_body_may_be_of_a_type_that_came_later_and_a_known_type_is_still_held_to_its_schema():
    assert is_a_body(golden("asset.deleted") | {"type": "asset.unheard_of", "added_later": 1})
    assert not is_a_body(golden("asset.deleted") | {"type": "asset.ready"})


def test_what_may_be_missing_of_a_records_headers_may_be_null():
    headers = told("asset.ready", "headers")["properties"]
    nullable = {name for name, header in headers.items() if header["type"] == ["string", "null"]}
    assert nullable == {"traceparent", "ce_seq", "ce_tenantid"}


def test_every_record_says_what_its_key_is():
    keys = {name: told(name, "bindings")["kafka"]["key"]["description"] for name in STRUCTS}
    tenants = {"job.dispatch", "job.dead"}
    assert keys == {name: "Id of the tenant" if name in tenants else "Id of the asset" for name in STRUCTS}


def test_a_dead_letters_headers_are_those_that_the_connector_places():
    placed = json.loads(CONNECTOR.read_text())["transforms.outbox.table.fields.additional.placement"]
    names = {rule.split(":")[2] for rule in placed.split(",") if ":header:" in rule}
    assert set(told("job.dead", "headers")["properties"]) == names | {"ce_source", "ce_specversion"}
    assert set(told("asset.ready", "headers")["properties"]) == {
        name for name in set(told("job.dead", "headers")["properties"]) if not name.startswith(("__dlq", "medialane_"))
    }
