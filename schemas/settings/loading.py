"""How a group of settings is read from an environment: names, types, bounds, and what is said of a bad value."""

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta

PREFIX = "MEDIALANE_"
CHECK = "check"

_LONGEST, _MOST = 10**10, 2**53
"""Seconds, some three hundred years, to which points in time can be added; bytes and counts, as JSON has them."""


class SettingsError(Exception):
    """One or more variables are missing or wrong; `problems` has a line for each, naming the variable."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A group of settings; `prefix` is the part of the names that its variables share.

    A field's `Meta(extra={CHECK: ...})` may say more than its type: see `schemas.settings.values`.
    """

    prefix: ClassVar[str]

    def misfits(self) -> Sequence[str]:
        """What does not fit together of values that are each good, a line each, naming the variables."""
        return ()


S = TypeVar("S", bound=Settings)


def variable(group: type[Settings], field: str) -> str:
    """The environment variable of a group's field."""
    return f"{PREFIX}{group.prefix}{field.upper()}"


def load(group: type[S], env: Mapping[str, str]) -> S:
    """Read one group from an environment.

    Raises `SettingsError` naming every variable that is missing or wrong, not only the first.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for info in msgspec.structs.fields(group):
        name = variable(group, info.name)
        raw = env.get(name)
        if raw is None or raw == "":
            if info.required:
                problems.append(f"{name} is not set: {describe(info.type)}")
            continue
        try:
            values[info.name] = _convert(raw, info.type)
            if wrong := _out_of_reach(values[info.name]) or _check(raw, info.type):
                problems.append(f"{name}={_shown(name, raw)} is not valid: {wrong}")
        except (msgspec.ValidationError, ValueError) as error:
            problems.append(f"{name}={_shown(name, raw)} is not valid: {error}")
    if problems:
        raise SettingsError(problems)
    made = group(**values)
    if misfits := made.misfits():
        raise SettingsError(misfits)
    return made


def describe(annotation: Any) -> str:
    """The sentence that documents a field."""
    return next((m.description for m in get_args(annotation)[1:] if isinstance(m, Meta) and m.description), "")


def _out_of_reach(value: object) -> str | None:
    """What bounds let through and no clock and no counter holds: NaN, infinity, and what is not far from it."""
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        most = {float: _LONGEST, int: _MOST}.get(type(number))
        if most is not None and not abs(number) <= most:
            return f"a number up to {most:.0e} is expected"
    return None


def _check(raw: str, annotation: Any) -> str | None:
    checks = (m.extra[CHECK] for m in get_args(annotation)[1:] if isinstance(m, Meta) and m.extra and CHECK in m.extra)
    return next((wrong for check in checks if (wrong := check(raw))), None)


def _shown(name: str, raw: str) -> str:
    secret = any(word in name for word in ("PASSWORD", "SECRET", "KEY", "URL"))
    return "(hidden)" if secret else repr(raw)


def _convert(raw: str, annotation: Any) -> Any:
    inner = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if get_origin(inner) in (Union, UnionType):
        inner = next(arg for arg in get_args(inner) if arg is not type(None))
    value: Any = [part.strip() for part in raw.split(",")] if get_origin(inner) is tuple else raw
    if inner is bool:
        value = {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }.get(raw.lower(), raw)
    return msgspec.convert(value, annotation, strict=False)
