"""One event of each type."""

from typing import Any

from api.examples import ids
from schemas.details import Details
from schemas.events import (
    AssetCancelled,
    AssetCreated,
    AssetDeleted,
    AssetFailed,
    AssetReady,
    AssetReopened,
    AssetUploaded,
    Event,
    JobDone,
    JobFailed,
    JobProgress,
    JobStarted,
    JobStarting,
    Variant,
    VariantReady,
)
from schemas.states import MediaKind, Stage

_VARIANT = Variant(
    profile="thumbnail", content_type="image/webp", width=256, height=256, size=12_060, sha256=ids.VARIANT,
    object_key=ids.VARIANT_KEY,
)  # fmt: skip
_WORDS: dict[str, Any] = {"file_name": "beach.jpg", "metadata": {"album": "2026"}, "tags": ("beach",)}
_JOB: dict[str, Any] = {"job_id": ids.JOB, "stage": Stage.IMAGE_PRIMARY}


def _told(seq: int, generation: int = 1) -> dict[str, Any]:
    return {
        "id": ids.EVENT, "time": ids.NOON + seq * ids.SECOND, "tenant_id": ids.TENANT, "asset_id": ids.ASSET,
        "generation": generation, "seq": seq,
    }  # fmt: skip


_ALL: tuple[Event, ...] = (
    AssetCreated(**_told(1), file_name="beach.jpg", content_type="image/jpeg", size=2_482_113),
    AssetUploaded(**_told(2), size=2_482_113, etag="9bb58f26192e4ba00f01e2e7b136bbd8"),
    JobStarting(**_told(3), **_JOB),
    JobStarted(**_told(4), **_JOB, wait_s=0.08),
    JobProgress(**_told(5), job_id=ids.JOB, stage=Stage.VIDEO_PRIMARY, percent=40),
    VariantReady(**_told(5), variant=_VARIANT),
    JobDone(**_told(6), **_JOB, attempts=1, cpu_s=0.42),
    AssetReady(
        **_told(7), **_WORDS, kind=MediaKind.IMAGE, width=4000, height=3000, variants=(_VARIANT,),
        details=Details(format="jpeg", dominant_color="#3a6ea5", orientation=1),
    ),
    JobFailed(**_told(6), **_JOB, code="truncated", detail="The file ends before its content does.", attempts=1),
    AssetFailed(**_told(7), **_WORDS, code="truncated", detail="The file ends before its content does."),
    AssetReopened(**_told(8, generation=2), reason="replayed by an operator"),
    AssetCancelled(**_told(5)),
    AssetDeleted(**_told(8)),
)  # fmt: skip

EVENTS: dict[str, Event] = {event.event_type: event for event in _ALL}
"""By type."""
