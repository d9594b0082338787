"""Types of fields that several resources take or show: what a text may hold, and what is said of an upload."""

from typing import Annotated

from msgspec import Meta

from schemas.patterns import said, whole
from schemas.profiles import ACCEPTED_TYPES

CONTROLS = r"\u0000-\u001f\u007f-\u009f"
NO_CONTROLS = whole(f"[^{CONTROLS}]*", "anything but line breaks, tabs and other control characters")
"""Of texts that are shown to people.

All else may be in a file's name: phones put emoji into it that are several characters joined by invisible ones, marks
that combine, and marks of direction; browsers, a folder's files with their folders. Of an object's key it is a cleaned
part (`api.announcing.safe_name`).
"""

SHA256 = whole("[0-9a-f]{64}", "64 hexadecimal digits, in lower case")
TYPES = ", ".join(ACCEPTED_TYPES)
FileName = Annotated[str, Meta(min_length=1, max_length=255, pattern=NO_CONTROLS)]

_NO_NUL = said(r"^[^\u0000]*$", "anything but the character U+0000")  # lines and their ends are text there
_NAME = whole("[A-Za-z0-9._-]+", "the letters A to Z and a to z, digits, '.', '_' and '-', as names")
MetadataKey = Annotated[str, Meta(min_length=1, max_length=64, pattern=_NAME)]
MetadataValue = Annotated[str, Meta(max_length=512, pattern=_NO_NUL)]
Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Meta(
        max_length=20,
        description="The caller's own words about the asset, at most 16 KiB of JSON together",
        examples=[{"album": "2026"}],
    ),
]
Tag = Annotated[str, Meta(min_length=1, max_length=64, pattern=_NO_NUL)]
Tags = Annotated[list[Tag], Meta(max_length=64, description="Words to find assets by", examples=[["beach"]])]

ProfileNames = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=64)]],
    Meta(
        min_length=1,
        max_length=64,
        description="Which of the tenant's profiles are made of it, one of the first stage at least; all, if left out",
        examples=[["thumbnail"]],
    ),
]
