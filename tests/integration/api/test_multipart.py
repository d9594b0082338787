"""Uploads in parts, by the calls that Uppy's S3 uploader makes; interrupted, resumed, repeated, given up."""

import asyncio

import pytest
from support.api import PHOTO
from yarl import URL

MULTIPART = "/api/v1/uploads/s3/multipart"
FIRST = PHOTO + bytes(5 << 20)
LAST = b"the last part"
SIZE = len(FIRST) + len(LAST)


async def begin(caller, **change):
    body = {"filename": "big.jpg", "type": "image/jpeg", "metadata": {"name": "big.jpg", "size": SIZE, "album": "a"}}
    status, answer, _ = await caller.call("POST", MULTIPART, body | change)
    assert status == 200, answer
    return answer


async def send(caller, made, number, data):
    status, signed, _ = await caller.call("GET", f"{MULTIPART}/{made['uploadId']}/{number}?key={made['key']}")
    assert status == 200, signed
    return await put(caller, signed["url"], data)


async def put(caller, address, data):
    async with caller.session.put(URL(address, encoded=True), data=data) as response:
        assert response.status == 200
        return response.headers["ETag"]


def finish(caller, made, etags, **headers):
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in etags.items()]
    return caller.call("POST", f"{MULTIPART}/{made['uploadId']}/complete", {"parts": parts}, headers=headers)


async def test_parts_become_one_asset_and_completing_repeats(caller, operator):
    made = await begin(caller)
    status, signed, _ = await caller.call(
        "GET", f"{MULTIPART}/{made['uploadId']}/batch?partNumbers=1,2&key={made['key']}"
    )
    assert (status, set(signed["presignedUrls"])) == (200, {"1", "2"})
    etags = {
        number: await put(caller, signed["presignedUrls"][str(number)], data)
        for number, data in ((2, LAST), (1, FIRST))
    }
    answers = await asyncio.gather(*(finish(caller, made, etags) for _ in range(6)))
    assert {status for status, _, _ in answers} == {200}, answers
    assert {answer["assetId"] for _, answer, _ in answers} == {made["uploadId"]}
    assert answers[0][1]["location"].endswith(made["key"])
    rows = await operator.rows(
        "SELECT state, size, metadata, (SELECT count(*) FROM jobs WHERE asset_id = a.id) AS jobs FROM assets a WHERE id = :id",
        id=made["uploadId"],
    )
    assert [tuple(row.values()) for row in rows] == [("uploaded", SIZE, {"album": "a"}, 1)]


async def test_a_client_that_vanished_goes_on_where_it_was(caller):
    made = await begin(caller)
    await send(caller, made, 1, FIRST)
    listed = (await caller.call("GET", f"{MULTIPART}/{made['uploadId']}?key={made['key']}"))[1]
    assert [(part["PartNumber"], part["Size"]) for part in listed] == [(1, len(FIRST))]
    etags = {1: listed[0]["ETag"], 2: await send(caller, made, 2, LAST)}
    assert (await finish(caller, made, etags))[0] == 200


async def test_an_object_made_by_a_call_that_died_is_found(caller, bucket, operator):
    from connectors.objectstore.s3 import S3ObjectStore

    made = await begin(caller)
    etags = {1: await send(caller, made, 1, FIRST), 2: await send(caller, made, 2, LAST)}
    upload = await operator.rows("SELECT upload_id FROM assets WHERE id = :id", id=made["uploadId"])
    async with S3ObjectStore(bucket) as store:
        parts = await store.list_parts(made["key"], upload[0]["upload_id"])
        await store.complete_multipart(made["key"], upload[0]["upload_id"], parts)
    assert (await finish(caller, made, etags))[0] == 200
    assert len(await operator.rows("SELECT FROM jobs WHERE asset_id = :id", id=made["uploadId"])) == 1


async def test_bytes_that_were_refused_may_be_sent_anew(caller, operator):
    made = await begin(caller)
    refused = {1: await send(caller, made, 1, bytes(len(FIRST))), 2: await send(caller, made, 2, LAST)}
    for _ in range(2):  # the second is that of a client that lost the first answer
        answers = await asyncio.gather(*(finish(caller, made, refused) for _ in range(4)))
        assert {(status, answer["code"]) for status, answer, _ in answers} == {(422, "unknown_format")}
    assert (await caller.call("GET", f"{MULTIPART}/{made['uploadId']}"))[:2] == (200, [])
    etags = {1: await send(caller, made, 1, FIRST), 2: await send(caller, made, 2, LAST)}
    assert (await finish(caller, made, etags))[0] == 200
    assert len(await operator.rows("SELECT FROM jobs WHERE asset_id = :id", id=made["uploadId"])) == 1


@pytest.mark.parametrize(("size", "most"), [(1, 1), (5 << 20, 1), ((5 << 20) + 1, 2), (SIZE, 2), (1 << 30, 205)])
async def test_no_more_parts_are_signed_than_a_file_of_that_size_can_have(caller, size, most):
    made = await begin(caller, size=size)
    address = f"{MULTIPART}/{made['uploadId']}"
    assert (await caller.call("GET", f"{address}/{most}"))[0] == 200
    assert (await caller.call("GET", f"{address}/batch?partNumbers=1,{most}"))[0] == 200
    for path, field in ((f"/{most + 1}", "number"), (f"/batch?partNumbers=1,{most + 1}", "partNumbers")):
        status, answer, _ = await caller.call("GET", address + path)
        assert (status, answer["code"], answer["field"]) == (400, "invalid_request", field)


@pytest.mark.parametrize("wrong", ["missing", "another", "too few"])
async def test_parts_that_are_not_the_file_make_no_asset(caller, operator, wrong):
    made = await begin(caller)
    etags = {1: await send(caller, made, 1, FIRST), 2: await send(caller, made, 2, LAST)}
    said = {"missing": etags | {3: '"abc"'}, "another": etags | {2: etags[1]}, "too few": {1: etags[1]}}[wrong]
    status, answer, _ = await finish(caller, made, said)
    assert (status, answer["code"], answer["field"]) == (409, "part_invalid", "parts")
    assert (await operator.rows("SELECT state FROM assets WHERE id = :id", id=made["uploadId"]))[0][
        "state"
    ] == "pending"
    assert (await finish(caller, made, etags))[0] == 200


async def test_an_upload_that_was_given_up_is_gone(caller):
    made = await begin(caller)
    await send(caller, made, 1, FIRST)
    assert (await caller.call("DELETE", f"{MULTIPART}/{made['uploadId']}?key={made['key']}"))[:2] == (200, {})
    assert (await caller.call("GET", f"{MULTIPART}/{made['uploadId']}"))[0] == 404
    assert (await caller.call("GET", f"/api/v1/assets/{made['uploadId']}"))[0] == 404


async def test_the_key_is_the_rows_and_never_the_clients(caller):
    made = await begin(caller)
    other = await begin(caller)
    for path in ("", "/1", "/batch?partNumbers=1"):
        joint = "&" if "?" in path else "?"
        address = f"{MULTIPART}/{made['uploadId']}{path}{joint}key={other['key']}"
        assert (await caller.call("GET", address))[0] == 404


async def test_single_uploads_and_finished_ones_are_no_open_uploads(caller):
    single = await caller.presign()
    assert (await caller.call("GET", f"{MULTIPART}/{single['assetId']}/1"))[0] == 404
    made = await begin(caller)
    etags = {1: await send(caller, made, 1, FIRST), 2: await send(caller, made, 2, LAST)}
    assert (await finish(caller, made, etags))[0] == 200
    for method, path in (("GET", "/1"), ("GET", ""), ("DELETE", "")):
        status, answer, _ = await caller.call(method, f"{MULTIPART}/{made['uploadId']}{path}")
        assert (status, answer["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("change", "field"),
    [({"metadata": {}}, "size"), ({"metadata": {"size": "big"}}, "size"), ({"type": "text/html"}, "contentType"),
     ({"size": 0}, "size"), ({"metadata": {"size": 5, "a b": "c"}}, "metadata"), ({"size": 10**13}, "size")],
)  # fmt: skip
async def test_what_cannot_become_an_asset_is_refused(caller, change, field):
    body = {"filename": "big.jpg", "type": "image/jpeg", "metadata": {"size": SIZE}} | change
    status, answer, _ = await caller.call("POST", MULTIPART, body)
    assert (status, answer["field"]) == (400, field)


async def test_an_upload_in_parts_counts_as_open(caller, operator):
    await operator.put_on_plan(caller.tenant_id, max_uploads=1)
    made = await begin(caller)
    body = {"filename": "b.jpg", "type": "image/jpeg", "size": 5}
    assert (await caller.call("POST", MULTIPART, body))[0] == 429
    assert (await caller.call("DELETE", f"{MULTIPART}/{made['uploadId']}"))[0] == 200
    assert (await caller.call("POST", MULTIPART, body))[0] == 200


async def test_an_upload_that_was_given_up_gives_its_room_back(caller, operator):
    await operator.put_on_plan(caller.tenant_id, max_assets=2)
    made = [await begin(caller) for _ in range(2)]
    body = {"filename": "b.jpg", "type": "image/jpeg", "size": 5}
    assert (await caller.call("POST", MULTIPART, body))[0] == 403
    assert (await caller.call("DELETE", f"{MULTIPART}/{made[0]['uploadId']}"))[0] == 200
    assert (await caller.call("POST", MULTIPART, body))[0] == 200


async def test_ten_thousand_parts_can_be_named(caller):
    made = await begin(caller)
    await send(caller, made, 1, LAST)
    named = dict.fromkeys(range(1, 10001), '"9bb58f26192e4ba00f01e2e7b136bbd8"')
    status, answer, _ = await finish(caller, made, named)
    assert (status, answer["code"]) == (409, "part_invalid")
