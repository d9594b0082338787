"""What a field may be, where it is one of a few: msgspec says of another value only that it is none of them."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import inspect

_NONE_OF_THEM = re.compile(r"Invalid enum value (.*)", re.DOTALL)
_STEP = re.compile(r"\[[^\]]*\]|[^.\[\]]+")


def with_choices(refusal: str, kind: Any, path: str) -> str:
    """What msgspec says of a value at `path` (as in `parts[0].kind`) of this type, with all that it may be."""
    found = _NONE_OF_THEM.fullmatch(refusal)
    allowed = found and ", ".join(_choices(kind, _STEP.findall(path)))
    return f"{found[1]} is none of these: {allowed}." if found and allowed else refusal


def _choices(kind: Any, path: Sequence[str]) -> Iterator[str]:
    nodes = list(_plain(inspect.type_info(kind)))
    for name in path:
        nodes = [inner for node in nodes for step in _steps(node, name) for inner in _plain(step)]
    return (str(value) for node in nodes for value in _values(node))


def _plain(node: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(node, inspect.Metadata):
        yield from _plain(node.type)
    elif isinstance(node, inspect.UnionType):
        for each in node.types:
            yield from _plain(each)
    else:
        yield node


def _steps(node: inspect.Type, name: str) -> Iterator[inspect.Type]:
    if isinstance(node, inspect.StructType):
        yield from (field.type for field in node.fields if field.encode_name == name)
    elif isinstance(node, inspect.ListType | inspect.VarTupleType | inspect.SetType):
        yield node.item_type
    elif isinstance(node, inspect.DictType):
        yield node.value_type


def _values(node: inspect.Type) -> Iterator[object]:
    if isinstance(node, inspect.EnumType):
        yield from (member.value for member in node.cls)
    elif isinstance(node, inspect.LiteralType):
        yield from node.values
