"""The settings as a Markdown table, for the README: what the code reads is what is documented.

python -m schemas.settings_table README.md      # rewrites the text between the markers; a test finds drift
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from schemas.settings import PROCESSES, Settings, describe, variable

BEGIN = "<!-- settings: made by `python -m schemas.settings_table README.md` -->\n"
END = "<!-- settings end -->\n"


def render() -> str:
    """Every group's variables, in the order of the processes that read them first."""
    return "\n".join(line for group in _groups() for line in _section(group)) + "\n"


def replace(document: str) -> str:
    """The document with the text between the markers made anew. Raises `ValueError` without the markers."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the document has no {BEGIN.strip()} ... {END.strip()}")
    return head + BEGIN + render() + END + tail


def _groups() -> list[type[Settings]]:
    return list(dict.fromkeys(group for groups in PROCESSES.values() for group in groups))


def _section(group: type[Settings]) -> Iterator[str]:
    readers = [name for name, groups in PROCESSES.items() if group in groups]
    yield f"\n**{_title(group)}**, read by {', '.join(readers)}:\n"
    yield "| variable | value | default | meaning |"
    yield "|---|---|---|---|"
    for field in msgspec.structs.fields(group):
        default = "**required**" if field.required else _shown(field.default)
        cells = (f"`{variable(group, field.name)}`", _kind(field.type), default, describe(field.type))
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _title(group: type[Settings]) -> str:
    """ObjectStoreSettings: Object store."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", group.__name__.removesuffix("Settings")).capitalize()


def _shown(default: Any) -> str:
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{','.join(item if isinstance(item, str) else f'{item:g}' for item in default)}`"
    return f"`{default:.12g}`" if isinstance(default, float) else f"`{default}`"


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _kind(annotation: Any) -> str:
    """What may be written, for people: number, text, yes or no, a choice, with the bounds."""
    inner, meta = annotation, Meta()
    if get_origin(annotation) is Annotated:
        inner = get_args(annotation)[0]
        meta = next(item for item in get_args(annotation)[1:] if isinstance(item, Meta))
    if get_origin(inner) in {Union, UnionType}:
        inner = next(arg for arg in get_args(inner) if arg is not type(None))
    if get_origin(inner) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(inner))
    names = {int: "whole number", float: "number", str: "text", bool: "`true`, `false`"}
    name = f"{names[_bare(get_args(inner)[0])]}s" if get_origin(inner) is tuple else names.get(inner, str(inner))
    return name + _bounds(meta)


def _bounds(meta: Meta) -> str:
    bounds = [
        f"{sign} {bound}" for sign, bound in ((">", meta.gt), ("≥", meta.ge), ("≤", meta.le)) if bound is not None
    ]
    return f" {', '.join(bounds)}" if bounds else ""


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(replace(path.read_text(encoding="utf-8")), encoding="utf-8")
