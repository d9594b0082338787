"""A new tenant with an API key, made by the same commands that an operator types."""

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from schemas.ids import uuid7


class CommandError(Exception):
    """A `medialane` command failed; the message has what it printed."""


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant and one key of it."""

    id: UUID
    slug: str
    api_key: str


async def new_tenant(env: Mapping[str, str], name: str) -> Tenant:
    """Run `medialane tenants create` and `medialane keys mint`. Raises `CommandError`."""
    slug = f"{name}-{uuid7().hex[-8:]}"
    tenant = await medialane_json(env, "tenants", "create", slug, "--json")
    key = await medialane_json(env, "keys", "mint", slug, "--json")
    return Tenant(id=UUID(tenant["id"]), slug=slug, api_key=key["key"])


async def medialane_json(env: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """Run a `medialane` command that prints one JSON object. Raises `CommandError`."""
    output = await medialane(env, *arguments)
    try:
        decoded: dict[str, Any] = msgspec.json.decode(output, type=dict)
    except msgspec.MsgspecError as error:
        raise CommandError(f"medialane {' '.join(arguments)} printed no JSON object: {output[:200]!r}") from error
    return decoded


async def medialane(env: Mapping[str, str], *arguments: str) -> bytes:
    """Run a `medialane` command; returns its standard output. Raises `CommandError`."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "cli.main",
        *arguments,
        env={**os.environ, **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaint = await child.communicate()
    if child.returncode != 0:
        said = (complaint or output).decode(errors="replace").strip()
        raise CommandError(f"medialane {' '.join(arguments)} exited {child.returncode}: {said[-800:]}")
    return output
