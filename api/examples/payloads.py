"""What each operation is asked and answers, by its id."""

from typing import Any

from api.assets.models import (
    AssetChange,
    AssetListed,
    AssetOut,
    AssetPage,
    CompletedAsset,
    CompleteMany,
    DetailsOut,
    JobOut,
    PictureOut,
    StepOut,
    TimelineOut,
    UploadAgain,
    VariantOut,
)
from api.envelope import Done, Success
from api.examples import deliveries, ids
from api.examples.events import EVENTS
from api.health.routes import Health
from api.keys.models import KeyMade, KeyOut, KeyPage, KeyRequest, RotationRequest
from api.originals.models import OriginalOut
from api.profiles.models import ProfileOut, ProfilesOut
from api.pulls.models import PulledAsset, PullRequest
from api.storage.models import PresignedUpload, PresignRequest
from api.uploads.models import (
    DonePart,
    DoneParts,
    Location,
    MultipartCreated,
    MultipartRequest,
    Nothing,
    SignedPart,
    SignedParts,
    UploadedPart,
)
from api.usage.models import DayUsage, StageUsage, UsageOut, UsageSums
from api.webhooks.models import (
    EndpointChange,
    EndpointCreated,
    EndpointOut,
    EndpointRequest,
    SecretRotation,
    SentTest,
    TestWanted,
)
from schemas.errors import ERRORS, ErrorCode
from schemas.events import encode_event
from schemas.profile_sets import OwnProfile, ProfileChoice
from schemas.scopes import Scope
from schemas.states import AssetState, JobState, MediaKind, Stage

_SIGNATURE = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=900&X-Amz-Signature=5d0c..."
_UPLOAD_URL = f"{ids.STORE}/{ids.OBJECT_KEY}?{_SIGNATURE}"
_TOLD: dict[str, Any] = {"metadata": {"album": "2026"}, "tags": ("beach",)}
_PRESIGNED = Success(
    data=PresignedUpload(
        upload_url=_UPLOAD_URL, asset_id=ids.ASSET, method="PUT", headers={"Content-Type": "image/jpeg"},
        object_path=ids.OBJECT_KEY, public_url=f"{ids.STORE}/{ids.OBJECT_KEY}",
        expires_at=int(ids.NOON.timestamp()) + 900,
    )
)  # fmt: skip
_SUMMARY: dict[str, Any] = _TOLD | {
    "id": ids.ASSET, "state": AssetState.READY, "generation": 1, "kind": MediaKind.IMAGE, "file_name": "beach.jpg",
    "content_type": "image/jpeg", "size": 2_482_113, "width": 4000, "height": 3000, "duration_s": None,
    "details": DetailsOut(format="jpeg", dominant_color="#3a6ea5", orientation=1), "error_code": None,
    "error_detail": None, "created_at": ids.NOON, "uploaded_at": ids.NOON + 2 * ids.SECOND,
    "finished_at": ids.NOON + 7 * ids.SECOND, "profiles": None, "progress": 100,
}  # fmt: skip
_THUMBNAIL = VariantOut(
    profile="thumbnail", content_type="image/webp", width=256, height=256, size=12_060, sha256=ids.VARIANT,
    url=f"{ids.API}/media/{ids.TOKEN}/thumbnail.v1.webp", url_expires_at=ids.NOON + 3600 * ids.SECOND,
)  # fmt: skip
_MADE: dict[str, Any] = {
    "variants": (_THUMBNAIL,),
    "pictures": (
        PictureOut(
            name="display_large", content_types=("image/avif", "image/webp", "image/jpeg"),
            url=f"{ids.API}/media/{ids.TOKEN}/display_large", url_expires_at=ids.NOON + 3600 * ids.SECOND,
        ),
    ),
}  # fmt: skip
_ASSET = AssetOut(
    **_SUMMARY,
    **_MADE,
    created_by="key:3f9a1c07b2de",
    jobs=(
        JobOut(
            id=ids.JOB, generation=1, stage=Stage.IMAGE_PRIMARY, state=JobState.DONE, waiting_for=None, attempts=1,
            progress=100, created_at=ids.NOON + 2 * ids.SECOND, started_at=ids.NOON + 4 * ids.SECOND,
            finished_at=ids.NOON + 6 * ids.SECOND, cpu_s=0.42,
            steps=(StepOut(name="download", started_at=ids.NOON + 4 * ids.SECOND, seconds=0.05),),
        ),
    ),
    timeline=(TimelineOut(seq=1, type="asset.created", subject="", generation=1, time=ids.NOON),),
)  # fmt: skip
_KEY: dict[str, Any] = {
    "id": ids.KEY, "prefix": "3f9a1c07b2de", "scopes": ("assets:read",), "created_at": ids.NOON, "expires_at": None,
}  # fmt: skip
_KEY_MADE = Success(data=KeyMade(**_KEY, key="mp_3f9a1c07b2de_<48 hexadecimal digits>"))
_ENDPOINT: dict[str, Any] = {
    "id": ids.ENDPOINT, "url": "https://example.com/hooks/media", "events": ("asset.ready", "asset.failed"),
    "description": "orders", "enabled": True, "disabled_reason": None, "created_at": ids.NOON,
}  # fmt: skip
_REGISTERED: dict[str, Any] = _ENDPOINT | {"old_secret_until": None}
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - nobody's
_CHOICE = ProfileChoice(
    include=("webp",), own=(OwnProfile(name="hero", format="webp", fit="inside", width=1600, height=900),)
)
_PROFILES = Success(
    data=ProfilesOut(
        include=_CHOICE.include, own=_CHOICE.own,
        profiles=(
            ProfileOut(
                name="thumbnail", version=1, stage=Stage.IMAGE_PRIMARY, content_type="image/webp", fit="crop",
                width=256, height=256, quality=80, target_bytes=None, animated=False,
            ),
        ),
        sets={"webp": ("thumbnail",)},
    )
)  # fmt: skip
_USED: dict[str, Any] = {
    "jobs_done": 41, "jobs_failed": 1, "cpu_s": 17.5, "uploads": 42, "bytes_in": 104_857_600, "bytes_out": 9_437_184,
    "mean_wait_s": 0.08, "longest_wait_s": 1.4,
    "stages": (
        StageUsage(stage="image.primary", kind=MediaKind.IMAGE, jobs_done=41, jobs_failed=1, cpu_s=17.5),
    ),
}  # fmt: skip
_PART_URL = f"{ids.STORE}/{ids.OBJECT_KEY}?partNumber=1&{_SIGNATURE}"
_COMPLETED = Done(message="Asset marked as uploaded")
_SHOWN = EVENTS["asset.uploaded"]

REQUESTS: dict[str, Any] = {
    "presignUpload": PresignRequest(
        file_name="beach.jpg", content_type="image/jpeg", size=2_482_113, metadata={"album": "2026"}, tags=["beach"]
    ),
    "presignAgain": UploadAgain(method="PUT"),
    "pullAsset": PullRequest(url="https://example.com/beach.jpg", metadata={"album": "2026"}, tags=["beach"]),
    "completeAssets": CompleteMany(asset_ids=[ids.ASSET]),
    "changeAsset": AssetChange(metadata={"album": "2026"}, tags=["beach", "summer"]),
    "createMultipart": MultipartRequest(
        filename="film.mp4", type="video/mp4", size=734_003_200, metadata={"album": "2026"}, tags=["beach"]
    ),
    "completeMultipart": DoneParts(parts=[DonePart(part_number=1, e_tag='"9bb58f26192e4ba00f01e2e7b136bbd8"')]),
    "registerWebhook": EndpointRequest(url="https://example.com/hooks/media", events=["asset.ready", "asset.failed"]),
    "changeWebhook": EndpointChange(events=["asset.ready"], enabled=True),
    "rotateWebhookSecret": SecretRotation(overlap_seconds=3600),
    "testWebhook": TestWanted(type="asset.ready"),
    "mintKey": KeyRequest(scopes=[Scope.ASSETS_READ], name="ci", expires_in=86_400),
    "rotateKey": RotationRequest(overlap=3600),
    "chooseProfiles": _CHOICE,
    **deliveries.REQUESTS,
}

ANSWERS: dict[str, Any] = {
    "presignUpload": _PRESIGNED,
    "presignAgain": _PRESIGNED,
    "pullAsset": Success(
        data=PulledAsset(
            asset_id=ids.ASSET, file_name="beach.jpg", content_type="image/jpeg", size=2_482_113, sha256=ids.CONTENT
        )
    ),
    "completeAsset": _COMPLETED,
    "completeAssetByGet": _COMPLETED,
    "completeAssets": Success(
        data=(
            CompletedAsset(asset_id=ids.ASSET, status="success"),
            CompletedAsset(
                asset_id=ids.JOB,
                status="error",
                code=ErrorCode.UPLOAD_MISSING,
                message=ERRORS[ErrorCode.UPLOAD_MISSING].meaning,
            ),
        )
    ),
    "readAsset": Success(data=_ASSET),
    "readOriginal": Success(
        data=OriginalOut(
            file_name="beach.jpg",
            content_type="image/jpeg",
            size=2_482_113,
            url=f"{ids.STORE}/{ids.OBJECT_KEY}?{_SIGNATURE}",
            url_expires_at=ids.NOON + 300 * ids.SECOND,
        )
    ),
    "chooseVariant": Success(data=_THUMBNAIL),
    "readMedia": "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-STREAM-INF:BANDWIDTH=861000,RESOLUTION=640x360\n360p.m3u8\n",
    "listAssets": Success(data=AssetPage(items=(AssetListed(**_SUMMARY, **_MADE),), next_cursor=None)),
    "changeAsset": Done(message="Asset changed"),
    "cancelAsset": Done(message="Asset cancelled"),
    "processAsset": Done(message="Asset is processed again"),
    "deleteAsset": Done(message="Asset deleted"),
    "streamEvents": f"id: {_SHOWN.seq}\nevent: {_SHOWN.event_type}\ndata: {encode_event(_SHOWN).decode()}\n\n",
    "createMultipart": MultipartCreated(key=ids.OBJECT_KEY, uploadId=ids.ASSET),
    "listParts": (UploadedPart(part_number=1, size=8_388_608, e_tag='"9bb58f26192e4ba00f01e2e7b136bbd8"'),),
    "signPart": SignedPart(url=_PART_URL, headers={}, expires=900),
    "signParts": SignedParts(presignedUrls={"1": _PART_URL}, expires=900),
    "completeMultipart": Location(location=f"{ids.STORE}/{ids.OBJECT_KEY}", assetId=ids.ASSET),
    "abortMultipart": Nothing(),
    "registerWebhook": Success(data=EndpointCreated(**_REGISTERED, secret=_SECRET)),
    "listWebhooks": Success(data=(EndpointOut(**_REGISTERED),)),
    "readWebhook": Success(data=EndpointOut(**_REGISTERED)),
    "changeWebhook": Success(data=EndpointOut(**_REGISTERED | {"events": ("asset.ready",)})),
    "deleteWebhook": Done(message="Webhook deleted"),
    "rotateWebhookSecret": Success(
        data=EndpointCreated(**_ENDPOINT, old_secret_until=ids.NOON + 3600 * ids.SECOND, secret=_SECRET)
    ),
    "testWebhook": Success(data=SentTest(delivery_id=ids.DELIVERY, event_id=ids.EVENT, type="asset.ready")),
    **deliveries.ANSWERS,
    "mintKey": _KEY_MADE,
    "rotateKey": _KEY_MADE,
    "listKeys": KeyPage(
        data=(KeyOut(**_KEY, name="ci", revoked_at=None, last_used_at=ids.NOON, replaces=None),), next_cursor=None
    ),
    "revokeKey": Done(message="Key revoked"),
    "readProfiles": _PROFILES,
    "chooseProfiles": _PROFILES,
    "readUsage": Success(
        data=UsageOut(since=ids.NOON.date(), total=UsageSums(**_USED), days=(DayUsage(day=ids.NOON.date(), **_USED),))
    ),
    "healthz": Health(status="ok"),
    "readyz": Health(status="ok"),
}
UNREADY = Health(status="unavailable", problems=("object store: The object store does not answer.",))  # fmt: skip
