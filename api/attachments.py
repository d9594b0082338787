"""Files that are to be saved: `?download` on an address, and the `Content-Disposition` that it asks for."""

import unicodedata
from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import quote

from litestar.params import QueryParameter

Download = Annotated[
    Literal["", "1", "true", "0", "false"] | None,
    QueryParameter(
        description="Answer as a file to be saved, under the asset's file name: `?download`, or `1` or `true`",
        schema_extra={"examples": ["1"]},
    ),
]

_LONGEST = 128  # characters: a name stands in an address, where each may take twenty
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 !#$&'()+,-.=@^_`{}~[]")


def is_wanted(download: str | None) -> bool:
    """Whether the parameter asks for it: it does so by being there."""
    return download is not None and download not in {"0", "false"}


def attachment(file_name: str) -> str:
    """The header's value (RFC 6266): the name as RFC 5987 encodes it, and in ASCII for who does not read that.

    What would be a folder, or would turn the rest of the name around, is replaced.
    """
    name = _cut("".join("_" if each in '/\\"' or unicodedata.category(each)[0] == "C" else each for each in file_name))
    plain = "".join(each if each in _PLAIN else "_" for each in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='!#$&+-.^_`|~')}"


def named_after(file_name: str, key: str) -> str:
    """What a variant's file is called beside its source: the source's stem, with the object's own extension."""
    suffix = PurePosixPath(key).suffix
    stem, dot, extension = file_name.rpartition(".")
    return f"{stem if dot and stem else extension}{suffix}"


def _cut(name: str) -> str:
    """So long at most, with its extension; and never one of those that name a folder."""
    stem, dot, extension = name.rpartition(".")
    if len(name) > _LONGEST:
        name = (
            f"{stem[: _LONGEST - len(extension) - 1]}.{extension}" if dot and len(extension) < 16 else name[:_LONGEST]
        )
    return name.strip(" .") or "file"
