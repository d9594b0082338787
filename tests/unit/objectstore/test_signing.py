"""Our signer and botocore's, held to the same text."""

from datetime import UTC, datetime
from unittest import mock

import boto3
import pytest
from botocore.config import Config
from yarl import URL

from connectors.objectstore.signing import QuerySigner

NOW = datetime(2026, 3, 1, 12, 30, 45, tzinfo=UTC)
KEYS = ["uploads/a/photo.jpg", "uploads/ä ö/a+b&c=d?#%41~_-.!*'().jpg", "a//b"]


@pytest.fixture(params=["http://127.0.0.1:8333", "https://s3.example.org", "https://s3.example.org:443"])
def endpoint(request):
    return request.param


@pytest.fixture
def signer(endpoint):
    return QuerySigner(endpoint=endpoint, bucket="media", region="eu-west-1", access_key="AK/1", secret_key="s3cret")


@pytest.fixture
def boto(endpoint):
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="eu-west-1",
        aws_access_key_id="AK/1",
        aws_secret_access_key="s3cret",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    with mock.patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        yield client


@pytest.mark.parametrize("key", KEYS)
def test_a_put_is_signed_as_botocore_signs_it(signer, boto, key):
    ours = signer.sign("PUT", key, ttl_s=900, headers={"Content-Type": "image/jpeg", "Content-Length": "123"}, now=NOW)
    params = {"Bucket": "media", "Key": key, "ContentType": "image/jpeg", "ContentLength": 123}
    assert ours == boto.generate_presigned_url("put_object", params, ExpiresIn=900)


@pytest.mark.parametrize("key", KEYS)
def test_a_get_is_signed_as_botocore_signs_it(signer, boto, key):
    ours = signer.sign("GET", key, ttl_s=60, headers={}, now=NOW)
    assert ours == boto.generate_presigned_url("get_object", {"Bucket": "media", "Key": key}, ExpiresIn=60)


def test_a_get_of_a_version_is_signed_as_botocore_signs_it(signer, boto):
    ours = signer.sign("GET", "a.jpg", ttl_s=60, headers={}, now=NOW, query={"versionId": "v/1+2"})
    params = {"Bucket": "media", "Key": "a.jpg", "VersionId": "v/1+2"}
    theirs = boto.generate_presigned_url("get_object", params, ExpiresIn=60)
    # The same questions under the same signature; in which order they stand in the address means nothing.
    assert URL(ours).path == URL(theirs).path
    assert dict(URL(ours).query) == dict(URL(theirs).query)


def test_capitals_in_the_host_are_neither_signed_nor_sent():
    def sign(endpoint):
        signer = QuerySigner(endpoint=endpoint, bucket="Media", region="eu-west-1", access_key="AK", secret_key="s")
        return signer.sign("GET", "Photo.jpg", ttl_s=60, headers={}, now=NOW), signer.address("Photo.jpg")

    assert sign("https://S3.Example.ORG:9000/Path") == sign("https://s3.example.org:9000/Path")
    assert sign("https://S3.Example.ORG:9000/Path")[1] == "https://s3.example.org:9000/Path/Media/Photo.jpg"


def test_the_key_follows_the_day(signer):
    first = signer.sign("GET", "a", ttl_s=60, headers={}, now=NOW)
    signer.sign("GET", "a", ttl_s=60, headers={}, now=NOW.replace(day=2))
    assert signer.sign("GET", "a", ttl_s=60, headers={}, now=NOW) == first
