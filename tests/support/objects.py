"""Objects of one byte, for tests of which are there; and a bucket as its owner sees it."""

import asyncio
import hashlib

import boto3


def client_of(bucket):
    """A client of a bucket (`ObjectStoreSettings`) that knows nothing of ours."""
    return boto3.client(
        "s3", endpoint_url=bucket.endpoint, region_name=bucket.region,
        aws_access_key_id=bucket.access_key, aws_secret_access_key=bucket.secret_key,
    )  # fmt: skip


async def put(store, tmp_path, *keys):
    """Store one under each of the keys."""
    path, content = tmp_path / "file", b"x"
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    await asyncio.gather(*(store.put_file(key, path, "image/webp", sha256) for key in keys))
