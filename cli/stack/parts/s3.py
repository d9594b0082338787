"""The object store: SeaweedFS in one process, from a wheel."""

import asyncio
import contextlib

from cli.stack.checks import weed
from cli.stack.environment import BUCKET, HOST
from cli.stack.parts.base import Context, Part, http_status
from cli.stack.processes import Command


def s3(context: Context) -> Part:
    """`weed mini` on loopback, telemetry off. It can hang on SIGTERM after large transfers, so its bound is short."""
    ports = context.ports
    data, logs = context.layout.data("s3"), context.layout.temp / "s3"
    flags = [
        f"-dir={data}", f"-ip={HOST}", f"-ip.bind={HOST}", "-master.telemetry=false",
        f"-s3.port={ports['s3']}", f"-master.port={ports['s3-master']}", f"-volume.port={ports['s3-volume']}",
        f"-filer.port={ports['s3-filer']}", f"-admin.port={ports['s3-admin']}",
        # As seen from its working folder: a socket's address has at most 107 bytes, however long the folder's path is.
        f"-filer.localSocket={data.name}/filer.sock", f"-s3.localSocket={data.name}/s3.sock",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false",
        "-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false",
    ]  # fmt: skip
    env = {"AWS_ACCESS_KEY_ID": context.secrets.s3_access_key, "AWS_SECRET_ACCESS_KEY": context.secrets.s3_secret_key}

    async def prepare() -> None:
        for folder in (data, logs):
            folder.mkdir(parents=True, exist_ok=True)
        # It would prefer the flags of its last start, kept here, to those of this one.
        (data / "mini.options").unlink(missing_ok=True)

    async def ready() -> bool:
        # An anonymous list is forbidden; that it says so means that it knows its keys.
        return await http_status(ports["s3"], "/") in {200, 403}

    return Part(
        name="s3",
        # Without a folder for them, its logs would pile up in /tmp.
        command=Command([str(weed()), f"-logdir={logs}", "mini", *flags], env=env, cwd=data.parent),
        address=f"http://{HOST}:{ports['s3']}",
        ready=ready,
        listens=tuple(ports[name] for name in ("s3", "s3-master", "s3-volume", "s3-filer", "s3-admin")),
        prepare=prepare,
        stop_bound_s=5.0,
    )


async def create_bucket(context: Context) -> None:
    """Make the bucket if it is not there."""
    await asyncio.to_thread(_create_bucket, context)


def _create_bucket(context: Context) -> None:
    import boto3  # noqa: PLC0415 - slow to import, and only a start needs it

    client = boto3.client(
        "s3",
        endpoint_url=f"http://{HOST}:{context.ports['s3']}",
        region_name="us-east-1",
        aws_access_key_id=context.secrets.s3_access_key,
        aws_secret_access_key=context.secrets.s3_secret_key,
    )
    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        client.create_bucket(Bucket=BUCKET)
