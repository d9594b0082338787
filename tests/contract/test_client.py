"""The Python client's models against the API's description: each knows all that is answered, but what is named here."""

import inspect
import json

import msgspec
import pytest

from cli import client as c
from cli.client import delivery_models, models, tenant_models
from schemas.generate import FOLDER

ANSWERS = {
    "presignUpload": c.Presigned,
    "presignAgain": c.Presigned,
    "completeAssets": list[c.Completion],
    "pullAsset": c.Pulled,
    "readAsset": c.Asset,
    "listAssets": c.AssetPage,
    "chooseVariant": c.AssetVariant,
    "readOriginal": c.AssetOriginal,
    "createMultipart": c.Multipart,
    "signParts": models.SignedParts,
    "listParts": list[c.StoredPart],
    "mintKey": c.Key,
    "rotateKey": c.Key,
    "listKeys": list[c.Key],
    "registerWebhook": c.Endpoint,
    "listWebhooks": list[c.Endpoint],
    "readWebhook": c.Endpoint,
    "changeWebhook": c.Endpoint,
    "rotateWebhookSecret": c.Endpoint,
    "testWebhook": c.SentTest,
    "listDeliveries": c.DeliveryPage,
    "readDelivery": c.DeliveryDetail,
    "recoverWebhook": c.Recovered,
    "readProfiles": c.Profiles,
    "chooseProfiles": c.Profiles,
    "readUsage": c.Usage,
}
OF_NO_SCHEMA = {c.Completed, c.Event}  # a message and a header; what all events have, beside all of each

LEFT_OUT = {
    "Presigned": {"fields"},  # of a form, which is for browsers
    "SignedParts": {"expires"},
}


@pytest.fixture(scope="module")
def document():
    return json.loads((FOLDER / "openapi.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def answered(document):
    """Each operation that the client reads: what it reads it as, its schema, and its example."""
    found = []
    for methods in document["paths"].values():
        for entry in methods.values():
            if kind := ANSWERS.get(entry["operationId"]):
                [status] = {"200", "201", "202", "307"} & set(entry["responses"])
                content = entry["responses"][status]["content"]["application/json"]
                schema, example = resolved(content["schema"], document["components"]["schemas"]), content["example"]
                if "data" in schema.get("properties", {}):
                    schema, example = schema["properties"]["data"], example["data"]
                found.append((kind, schema, example))
    assert len(found) == len(ANSWERS)
    return found


@pytest.fixture(scope="module")
def pairs(document, answered):
    """By the client's struct: its schema, and those of the API that it is read from."""
    found = {}
    for kind, schema, _ in answered:
        (own,), components = msgspec.json.schema_components([kind])
        pair_up(own, components, schema, document["components"]["schemas"], found)
    return found


def resolved(schema, components):
    """Of a reference what it names; of what may be null too, the rest."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        return resolved(choices[0], components)
    if "$ref" in schema:
        return components[schema["$ref"].removeprefix("#/components/schemas/").removeprefix("#/$defs/")]
    return schema


def pair_up(own, own_components, theirs, their_components, found):
    own, theirs = resolved(own, own_components), resolved(theirs, their_components)
    if "properties" in own:
        known, schemas = found.setdefault(own["title"], (own, []))
        if theirs not in schemas:
            schemas.append(theirs)
        for name in known["properties"].keys() & theirs["properties"].keys():
            below = own["properties"][name], own_components, theirs["properties"][name], their_components
            pair_up(*below, found)
    elif "items" in own:
        pair_up(own["items"], own_components, theirs["items"], their_components, found)


def nullable(schema):
    return {"type": "null"} in schema.get("anyOf", ())


def test_every_model_is_held_to_what_it_is_read_from(pairs):
    structs = {
        kind
        for module in (models, tenant_models, delivery_models)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, msgspec.Struct)
    }
    assert set(pairs) == {kind.__name__ for kind in structs - OF_NO_SCHEMA}


def test_the_client_reads_all_that_is_answered_but_what_is_left_out_knowingly(pairs):
    for name, (own, schemas) in pairs.items():
        answered = {field for schema in schemas for field in schema["properties"]}
        assert answered - set(own["properties"]) == LEFT_OUT.get(name, set()), name
        assert set(own["properties"]) <= answered, name


def test_what_may_be_missing_is_optional_and_nothing_else_is(pairs):
    for name, (own, schemas) in pairs.items():
        for field, schema in own["properties"].items():
            always = all(
                field in theirs["required"] and not nullable(theirs["properties"][field]) for theirs in schemas
            )
            has_default = field not in own["required"]
            assert always or has_default or nullable(schema), f"{name}.{field} is not always there"
            assert not (always and nullable(schema)), f"{name}.{field} is always there"


def test_every_example_is_read(answered):
    for kind, _, example in answered:
        assert msgspec.convert(example, kind, strict=False)


def test_every_event_has_what_the_client_reads_of_each(document):
    named = {field.encode_name for field in msgspec.structs.fields(c.Event)} - {"data"}
    for name, item in document["webhooks"].items():
        example = item["post"]["requestBody"]["content"]["application/json"]["example"]["data"]
        assert named <= set(example), name
