"""Ids and moments that every example shares."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

TENANT = UUID("01a20ab3-6793-7cee-a185-a72b7b0f8202")
ASSET = UUID("01a20ab3-6793-7cee-a185-a72b7b0f8203")
JOB = UUID("01a20ab3-6793-7cee-a185-a72b7b0f8204")
KEY = UUID("01a20ab3-6793-7cee-a185-a72b7b0f8205")
ENDPOINT = UUID("01a20ab3-6793-7cee-a185-a72b7b0f8206")
EVENT = UUID("01a20ab3-6793-7cee-a185-a72b7b0f8207")
DELIVERY = UUID("01a20ab3-6793-7cee-a185-a72b7b0f8208")

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)

CONTENT = "29" * 32
VARIANT = "c1" * 32
OBJECT_KEY = f"uploads/{TENANT}/{ASSET}/beach.jpg"
VARIANT_KEY = f"media/{TENANT}/{CONTENT}/thumbnail.v1.webp"
STORE = "https://media.s3.example.com"

API = "https://media.example.com"
TOKEN = "AYh0d-EBogqzZ5N87qGFpyt7D4ICAaIKs2eTfO6hhacrew-CA..."  # noqa: S105 - grants nothing

PATHS = {
    "asset_id": str(ASSET), "key_id": str(KEY), "endpoint_id": str(ENDPOINT), "delivery_id": str(DELIVERY),
    "number": 1, "name": "display_large", "token": TOKEN, "file_name": "hls.m3u8",
}  # fmt: skip
"""By the name of a path's parameter."""
