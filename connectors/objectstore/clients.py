"""The two kinds of clients of an S3 server, boto3's and plain HTTP, and how long they wait for it."""

from typing import TYPE_CHECKING, NamedTuple

import boto3
import urllib3
from botocore.config import Config

from schemas.settings import ObjectStoreSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_BUSY = (500, 502, 503, 504)
_BLOCK = 1 << 17  # bytes written at once of a file; urllib3 takes an eighth


class Patience(NamedTuple):
    """How long the store may be silent, seconds, and how often it is asked."""

    read_s: float
    attempts: int
    connect_s: float = 3.0

    @property
    def timeout(self) -> urllib3.Timeout:
        """As plain requests are told it."""
        return urllib3.Timeout(connect=self.connect_s, read=self.read_s)

    @property
    def retries(self) -> urllib3.Retry:
        """As plain requests are told it."""
        # A store may ask for minutes, for which the thread would sleep: whoever waits has a longer breath elsewhere.
        return urllib3.Retry(
            total=self.attempts - 1, redirect=0, backoff_factor=0.1, status_forcelist=_BUSY,
            raise_on_status=False, respect_retry_after_header=False,
        )  # fmt: skip

    def again(self, status: int) -> bool:
        """Whether what is answered like this is worth another attempt."""
        return status in _BUSY


def plain_client(settings: ObjectStoreSettings) -> urllib3.PoolManager:
    """Connections for requests that say themselves how patient they are."""
    return urllib3.PoolManager(maxsize=settings.connections, blocksize=_BLOCK, ca_certs=settings.tls_ca_file)


def boto_session(settings: ObjectStoreSettings) -> boto3.session.Session:
    """With the keys of the settings, or else those that boto3 finds by itself."""
    # A session of our own: boto3's default one is shared by the whole process and not safe to make in threads.
    return boto3.session.Session(
        aws_access_key_id=settings.access_key, aws_secret_access_key=settings.secret_key, region_name=settings.region
    )


def boto_clients(
    session: boto3.session.Session, settings: ObjectStoreSettings, *patience: Patience
) -> "list[S3Client]":
    """A client for each: boto3 has one patience per client. Those of a session share what is expensive to make."""
    return [
        session.client(
            "s3", endpoint_url=settings.endpoint, config=_config(settings, each), verify=settings.tls_ca_file or None
        )
        for each in patience
    ]


def _config(settings: ObjectStoreSettings, patience: Patience) -> Config:
    return Config(
        signature_version="s3v4",
        max_pool_connections=settings.connections,
        connect_timeout=patience.connect_s,
        read_timeout=patience.read_s,
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
