"""An original as the API shows it."""

from typing import Annotated

import msgspec
from msgspec import Meta

from api.envelope import Moment


class OriginalOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The bytes that were uploaded; size in bytes."""

    file_name: str
    content_type: str
    size: int
    url: Annotated[str, Meta(description="Signed address at the object store; needs no key, ends at `urlExpiresAt`")]
    url_expires_at: Moment
