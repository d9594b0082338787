"""Uploads in parts on S3, by boto3; every call blocks and raises what boto3 raises, but for what callers can act on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from connectors.objectstore.port import Part
from schemas.errors import ErrorCode, MedialaneError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_GONE = "NoSuchUpload"
_BAD_PARTS = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML", "InvalidRequest"})


class Multipart:
    """The multipart calls of one bucket; `patient` is for completing, which takes as long as a copy on some stores."""

    def __init__(self, client: "S3Client", patient: "S3Client", bucket: str) -> None:
        self._client = client
        self._patient = patient
        self._bucket = bucket

    def create(self, key: str, content_type: str) -> str:
        """The store's id of a new upload."""
        return self._client.create_multipart_upload(Bucket=self._bucket, Key=key, ContentType=content_type)["UploadId"]

    def listing(self, key: str, upload_id: str) -> tuple[Part, ...] | None:
        """Every part that is there; None: no such upload."""
        parts: list[Part] = []
        marker = 0
        while True:
            try:
                found = self._client.list_parts(
                    Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumberMarker=marker
                )
            except ClientError as error:
                if _code(error) == _GONE:
                    return None
                raise
            parts += [
                Part(number=item["PartNumber"], size=item["Size"], etag=item["ETag"].strip('"'))
                for item in found.get("Parts", ())
            ]
            if not found.get("IsTruncated") or not parts:
                return tuple(parts)
            marker = parts[-1].number

    def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> bool:
        """Make the object; False: no such upload."""
        try:
            self._patient.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]},
            )
        except ClientError as error:
            if _code(error) == _GONE:
                return False
            if _code(error) in _BAD_PARTS:
                raise MedialaneError(ErrorCode.PART_INVALID) from error
            raise
        return True

    def abort(self, key: str, upload_id: str) -> None:
        """Forget the upload, if there is one."""
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        except ClientError as error:
            if _code(error) != _GONE:
                raise


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
