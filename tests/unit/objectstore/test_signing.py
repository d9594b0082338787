"""Our signer and botocore's, held to the same text."""

import base64
import json
from datetime import UTC, datetime, timedelta
from unittest import mock

import boto3
import pytest
from botocore.config import Config
from yarl import URL

from connectors.objectstore.signing import Keys, QuerySigner, step_of

NOW = datetime(2026, 3, 1, 12, 30, 45, tzinfo=UTC)
STATIC, ROLE = Keys("AK/1", "s3cret"), Keys("ASIA/2", "s3cret too", "to/ken+=")
NAMES = ["uploads/a/photo.jpg", "uploads/ä ö/a+b&c=d?#%41~_-.!*'().jpg", "a//b"]


@pytest.fixture(params=["http://127.0.0.1:8333", "https://s3.example.org", "https://s3.example.org:443"])
def endpoint(request):
    return request.param


@pytest.fixture
def signer(endpoint):
    return QuerySigner(endpoint=endpoint, bucket="media", region="eu-west-1")


@pytest.fixture
def boto(endpoint):
    with botocore_at_now():
        yield botocore(endpoint, STATIC)


def botocore_at_now():
    return mock.patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None))


def botocore(endpoint, keys):
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="eu-west-1",
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        aws_session_token=keys.token,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


@pytest.mark.parametrize("key", NAMES)
def test_a_put_is_signed_as_botocore_signs_it(signer, boto, key):
    ours = signer.sign(
        "PUT", key, keys=STATIC, ttl_s=900, headers={"Content-Type": "image/jpeg", "Content-Length": "123"}, now=NOW
    )
    params = {"Bucket": "media", "Key": key, "ContentType": "image/jpeg", "ContentLength": 123}
    assert ours == boto.generate_presigned_url("put_object", params, ExpiresIn=900)


@pytest.mark.parametrize("key", NAMES)
def test_a_get_is_signed_as_botocore_signs_it(signer, boto, key):
    ours = signer.sign("GET", key, keys=STATIC, ttl_s=60, headers={}, now=NOW)
    assert ours == boto.generate_presigned_url("get_object", {"Bucket": "media", "Key": key}, ExpiresIn=60)


def test_a_get_of_a_version_is_signed_as_botocore_signs_it(signer, boto):
    ours = signer.sign("GET", "a.jpg", keys=STATIC, ttl_s=60, headers={}, now=NOW, query={"versionId": "v/1+2"})
    params = {"Bucket": "media", "Key": "a.jpg", "VersionId": "v/1+2"}
    theirs = boto.generate_presigned_url("get_object", params, ExpiresIn=60)
    assert asked(ours) == asked(theirs)


def test_what_is_answered_beside_the_bytes_is_signed_as_botocore_signs_it(signer, boto):
    said = "attachment; filename=\"a b.jpg\"; filename*=UTF-8''%C3%A4.jpg"
    query = {"versionId": "v", "response-content-disposition": said, "response-cache-control": "public, immutable"}
    ours = signer.sign("GET", "a.jpg", keys=STATIC, ttl_s=60, headers={}, now=NOW, query=query)
    params = {
        "Bucket": "media", "Key": "a.jpg", "VersionId": "v", "ResponseContentDisposition": said,
        "ResponseCacheControl": "public, immutable",
    }  # fmt: skip
    theirs = boto.generate_presigned_url("get_object", params, ExpiresIn=60)
    assert asked(ours) == asked(theirs)


@pytest.mark.parametrize(("minute", "second", "expected"), [(30, 0, 30), (44, 59, 30), (45, 0, 45), (59, 59, 45)])
def test_a_quarter_of_an_hour_is_signed_alike(minute, second, expected):
    now = NOW.replace(minute=minute, second=second, microsecond=999_999)
    assert step_of(now) == NOW.replace(minute=expected, second=0)


def asked(address):
    """What an address asks under which signature; in which order it does means nothing."""
    return URL(address).path, dict(URL(address).query)


def test_capitals_in_the_host_are_neither_signed_nor_sent():
    def sign(endpoint):
        signer = QuerySigner(endpoint=endpoint, bucket="Media", region="eu-west-1")
        return signer.sign("GET", "Photo.jpg", keys=STATIC, ttl_s=60, headers={}, now=NOW), signer.address("Photo.jpg")

    assert sign("https://S3.Example.ORG:9000/Path") == sign("https://s3.example.org:9000/Path")
    assert sign("https://S3.Example.ORG:9000/Path")[1] == "https://s3.example.org:9000/Path/Media/Photo.jpg"


def test_the_key_follows_the_day(signer):
    first = signer.sign("GET", "a", keys=STATIC, ttl_s=60, headers={}, now=NOW)
    signer.sign("GET", "a", keys=STATIC, ttl_s=60, headers={}, now=NOW.replace(day=2))
    assert signer.sign("GET", "a", keys=STATIC, ttl_s=60, headers={}, now=NOW) == first


@pytest.mark.parametrize("name", NAMES)
def test_a_roles_token_is_signed_as_botocore_signs_it(signer, endpoint, name):
    ours = signer.sign("GET", name, keys=ROLE, ttl_s=60, headers={}, now=NOW, query={"versionId": "v"})
    put = signer.sign("PUT", name, keys=ROLE, ttl_s=60, headers={"Content-Type": "image/jpeg"}, now=NOW)
    named, boto = {"Bucket": "media", "Key": name}, botocore(endpoint, ROLE)
    with botocore_at_now():
        theirs = boto.generate_presigned_url("get_object", named | {"VersionId": "v"}, ExpiresIn=60)
        assert asked(put) == asked(
            boto.generate_presigned_url("put_object", named | {"ContentType": "image/jpeg"}, ExpiresIn=60)
        )
    assert asked(ours) == asked(theirs)


@pytest.mark.parametrize("keys", [STATIC, ROLE], ids=["static", "role"])
def test_a_form_says_what_botocores_says(signer, endpoint, keys):
    fields = {"Content-Type": "image/jpeg"}
    url, ours = signer.sign_form("a.jpg", keys=keys, ttl_s=60, fields=fields, length=(5, 5), now=NOW)
    # A copy: it writes into what it is given.
    wanted = [["content-length-range", 5, 5], {"Content-Type": "image/jpeg"}]
    with botocore_at_now():
        boto = botocore(endpoint, keys)
        theirs = boto.generate_presigned_post("media", "a.jpg", Fields=dict(fields), Conditions=wanted, ExpiresIn=60)
    assert url == theirs["url"]
    # The policy's text may differ, and the signature with it.
    texts = [{name: form.pop(name) for name in ("policy", "x-amz-signature")} for form in (ours, theirs["fields"])]
    assert ours == theirs["fields"]
    policies = [json.loads(base64.b64decode(text["policy"])) for text in texts]
    assert sorted(map(str, policies[0]["conditions"])) == sorted(map(str, policies[1]["conditions"]))


def test_one_signer_signs_for_whoever_it_is_given(signer):
    def sign(signer, keys):
        return signer.sign("GET", "a", keys=keys, ttl_s=60, headers={}, now=NOW)

    fresh = [
        sign(QuerySigner(endpoint=signer.address("")[: -len("/media/")], bucket="media", region="eu-west-1"), keys)
        for keys in (STATIC, ROLE)
    ]
    assert [sign(signer, keys) for keys in (STATIC, ROLE, STATIC)] == [*fresh, fresh[0]]


@pytest.mark.parametrize(("left_s", "expected"), [(None, 900), (7200.9, 900), (480.9, 480), (0.2, 1)])
def test_what_keys_signed_ends_with_them(left_s, expected):
    ends_at = None if left_s is None else NOW + timedelta(seconds=left_s)
    assert Keys("AK", "s", "token", ends_at).at_most(900, NOW) == expected
