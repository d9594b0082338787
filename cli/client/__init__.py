"""The typed Python client of the HTTP API: presign, put, complete, follow, webhooks.

It knows the wire and nothing else of Medialane, so that an application may copy this folder and use it as it is.
"""

from cli.client.client import MedialaneClient
from cli.client.errors import (
    ApiError,
    AssetFailedError,
    BadAnswerError,
    BadRequestError,
    ClientError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    ServerError,
    StillProcessingError,
    StoreRefusedError,
    UnauthenticatedError,
    UnreachableError,
)
from cli.client.models import (
    Asset,
    AssetJob,
    AssetPage,
    AssetVariant,
    Completed,
    Endpoint,
    JobStep,
    Key,
    Multipart,
    Presigned,
    StoredPart,
    TimelineEntry,
)

__all__ = [
    "ApiError",
    "Asset",
    "AssetFailedError",
    "AssetJob",
    "AssetPage",
    "AssetVariant",
    "BadAnswerError",
    "BadRequestError",
    "ClientError",
    "Completed",
    "ConflictError",
    "Endpoint",
    "ForbiddenError",
    "JobStep",
    "Key",
    "MedialaneClient",
    "Multipart",
    "NotFoundError",
    "Presigned",
    "RateLimitedError",
    "RefusedError",
    "ServerError",
    "StillProcessingError",
    "StoreRefusedError",
    "StoredPart",
    "TimelineEntry",
    "UnauthenticatedError",
    "UnreachableError",
]
