"""Profiles of a tenant's choice: read, replaced, refused, and nobody else's."""

import pytest
from support import api

from schemas.scopes import Scope

HERO = {"name": "hero", "format": "webp", "fit": "inside", "width": 1600, "height": 900, "targetBytes": 200_000}


async def test_a_tenant_that_never_chose_has_the_default(caller):
    status, answer, _ = await caller.call("GET", "/api/v1/profiles")
    assert status == 200
    made = {profile["name"]: profile for profile in answer["data"]["profiles"]}
    assert answer["data"]["include"] == ["default"]
    assert made["display_large_jpeg"]["contentType"] == "image/jpeg"
    assert made["display_large_avif"]["stage"] == "image.avif"
    assert "webp" in answer["data"]["sets"]


async def test_a_choice_is_kept_for_its_tenant_only(new_caller):
    mine, other = await new_caller(), await new_caller()
    status, saved, _ = await mine.call("PUT", "/api/v1/profiles", {"include": ["webp"], "own": [HERO]})
    assert status == 200, saved
    assert {"thumbnail", "hero", "poster"} <= {profile["name"] for profile in saved["data"]["profiles"]}
    assert (await mine.call("GET", "/api/v1/profiles"))[1] == saved
    assert (await other.call("GET", "/api/v1/profiles"))[1]["data"]["own"] == []
    status, _, _ = await mine.call("PUT", "/api/v1/profiles", {})
    assert status == 200
    assert (await mine.call("GET", "/api/v1/profiles"))[1]["data"]["include"] == ["default"]


async def test_what_an_earlier_release_kept_is_read_though_it_would_be_refused_now(caller, operator):
    assert (await caller.call("PUT", "/api/v1/profiles", {"own": [HERO]}))[0] == 200
    change = """
        UPDATE profile_sets SET choice = jsonb_set(jsonb_set(choice, '{own,0,name}', '"hero\\n"'),
            '{own,0,targetBytes}', '18446744073709551616') WHERE tenant_id = :id RETURNING tenant_id
    """
    await operator.rows(change, id=caller.tenant_id)
    (own,) = (await caller.call("GET", "/api/v1/profiles"))[1]["data"]["own"]
    assert (own["name"], own["targetBytes"] < 2**63) == ("hero", True)


async def test_a_choice_is_in_the_audit_log_and_a_refused_one_is_not(caller, operator):
    assert (await caller.call("PUT", "/api/v1/profiles", {"include": ["webp"], "own": [HERO]}))[0] == 200
    assert (await caller.call("PUT", "/api/v1/profiles", {"include": ["nothing"]}))[0] == 400
    statement = "SELECT actor, action, detail FROM audit_log WHERE tenant_id = :id"
    (entry,) = await operator.rows(statement, id=caller.tenant_id)
    assert (entry["actor"], entry["action"]) == (f"key:{caller.key.split('_')[1]}", "profiles.set")
    assert (entry["detail"]["include"], entry["detail"]["own"][0]["name"]) == (["webp"], "hero")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"include": ["nothing"]}, "include"),
        ({"own": [HERO | {"name": "thumbnail"}]}, "own[0].name"),
        ({"own": [HERO | {"fit": "width"}]}, "own[0].height"),
        ({"own": [HERO | {"quality": 101}]}, "own[0].quality"),
        ({"own": [HERO | {"targetBytes": 2**64}]}, "own[0].targetBytes"),
        ({"own": [HERO | {"surprise": 1}]}, None),
        ({"include": [5]}, "include[0]"),
    ],
)
async def test_what_cannot_be_kept_is_refused_and_changes_nothing(caller, body, field):
    status, answer, _ = await caller.call("PUT", "/api/v1/profiles", body)
    assert (status, answer["code"]) == (400, "invalid_request")
    if field is not None:
        assert answer["field"] == field
    assert (await caller.call("GET", "/api/v1/profiles"))[1]["data"]["include"] == ["default"]


async def test_choosing_needs_its_scope(server, operator, session):
    tenant = await operator.tenant()
    key = await operator.key(tenant.id, scopes=(Scope.ASSETS_READ, Scope.ASSETS_WRITE))
    caller = api.Caller(server.address, tenant.id, key.text, session)
    assert (await caller.call("GET", "/api/v1/profiles"))[0] == 200
    assert (await caller.call("PUT", "/api/v1/profiles", {}))[0] == 403


async def test_a_choice_that_a_newer_release_has_saved_is_shown_as_far_as_it_is_known(caller, operator):
    await caller.call("PUT", "/api/v1/profiles", {"include": ["webp"], "own": [HERO, HERO | {"name": "newer"}]})
    newer = """
        UPDATE profile_sets SET choice = (jsonb_set(CAST(choice AS jsonb), '{own,1,format}', '"jxl"')
            || '{"include": ["jxl", "webp"], "renditions": 2}')
        WHERE tenant_id = :id RETURNING 1
    """
    await operator.rows(newer, id=caller.tenant_id)
    status, shown, _ = await caller.call("GET", "/api/v1/profiles")
    assert (status, shown["data"]["include"]) == (200, ["webp"])
    assert [own["name"] for own in shown["data"]["own"]] == ["hero"]
    for name, answered in (("hero", 200), ("newer", 200), ("never", 422)):
        status, answer, _ = await caller.call("POST", "/api/v1/storage/presign", PHOTO | {"profiles": [name]})
        assert (name, status) == (name, answered), answer


PHOTO = {"fileName": "a.jpg", "contentType": "image/jpeg", "size": 5}


async def test_an_upload_names_what_is_to_be_made_of_it(caller):
    await caller.call("PUT", "/api/v1/profiles", {"include": ["webp", "avif"], "own": [HERO]})
    wanted = ["hero", "thumbnail", "hero", "thumbnail_avif"]
    _, made, _ = await caller.call("POST", "/api/v1/storage/presign", PHOTO | {"profiles": wanted})
    parts = {"filename": "a.mp4", "type": "video/mp4", "size": 5, "profiles": ["poster"]}
    _, begun, _ = await caller.call("POST", "/api/v1/uploads/s3/multipart", parts)
    plain = await caller.presign()
    for asset_id, kept in (
        (made["data"]["assetId"], ["hero", "thumbnail", "thumbnail_avif"]),
        (begun["uploadId"], ["poster"]),
        (plain["assetId"], None),
    ):
        shown = (await caller.call("GET", f"/api/v1/assets/{asset_id}"))[1]["data"]
        assert shown["profiles"] == kept


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("storage/presign", PHOTO | {"profiles": ["thumbnail", "hero"]}),
        ("storage/presign", PHOTO | {"profiles": ["poster"]}),
        ("storage/presign", PHOTO | {"profiles": ["thumbnail_avif"]}),
        ("uploads/s3/multipart", {"filename": "a.mp4", "type": "video/mp4", "size": 5, "profiles": ["hls"]}),
    ],
)
async def test_what_cannot_be_made_of_it_is_refused_with_what_can(caller, operator, path, body):
    status, answer, _ = await caller.call("POST", f"/api/v1/{path}", body)
    assert (status, answer["code"], answer["field"]) == (422, "profiles_refused", "profiles")
    assert ("thumbnail, display_small" in answer["message"]) or ("poster, video_720p, preview" in answer["message"])
    assert await operator.rows("SELECT FROM assets WHERE tenant_id = :id", id=caller.tenant_id) == []


@pytest.mark.parametrize("profiles", [[], "thumbnail", [""], ["a"] * 65, [5]])
async def test_what_are_no_names_is_malformed(caller, profiles):
    status, answer, _ = await caller.call("POST", "/api/v1/storage/presign", PHOTO | {"profiles": profiles})
    assert (status, answer["code"]) == (400, "invalid_request")
    assert answer["field"].startswith("profiles")
