"""Variant rows: one per (asset, profile), pointing at one object per (tenant, content, profile, version)."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.json_text import json_text
from connectors.postgres.locks import lock_assets
from schemas.events import Part, Variant
from schemas.ids import uuid7
from schemas.profiles import Profile


class NewVariant(msgspec.Struct, frozen=True, kw_only=True):
    """A variant whose object is stored; sizes in pixels, bytes and seconds, hashes as 32 bytes.

    `parts` lie beside the object, in its folder; it names them, and they are stored with it.
    """

    profile: str
    profile_version: int
    content_sha256: bytes
    object_key: str
    content_type: str
    format: str
    width: int
    height: int
    duration_s: float | None
    size: int
    sha256: bytes
    parts: tuple[Part, ...] = ()

    def object_keys(self) -> tuple[str, ...]:
        """The keys of all its objects."""
        folder = self.object_key.rpartition("/")[0]
        return (self.object_key, *(f"{folder}/{part.name}" for part in self.parts))

    def columns(self) -> dict[str, Any]:
        """The values by the names of the columns that hold them, as JSON can: hashes in hexadecimal."""
        hashes = {"content_sha256": self.content_sha256.hex(), "sha256": self.sha256.hex()}
        return msgspec.structs.asdict(self) | hashes | {"parts": self.parts or None}

    def public(self) -> Variant:
        """The variant as events show it."""
        return Variant(
            profile=self.profile, content_type=self.content_type, width=self.width, height=self.height, size=self.size,
            sha256=self.sha256.hex(), object_key=self.object_key, duration_s=self.duration_s,
        )  # fmt: skip


# Named, here as everywhere: a statement that is prepared does not survive a column that `*` would add to its answer.
_COLUMNS = ", ".join(NewVariant.__struct_fields__)
# The rows that were there are those of the statement's beginning: of one that is replaced, `new` has what it is now.
_ADD = sa.text(f"""
    WITH new AS (
        INSERT INTO variants (id, tenant_id, asset_id, generation, profile, profile_version, content_sha256, object_key,
            content_type, format, width, height, duration_s, size, sha256, parts)
        SELECT id, tenant_id, asset_id, generation, profile, profile_version, decode(content_sha256, 'hex'), object_key,
            content_type, format, width, height, duration_s, size, decode(sha256, 'hex'), parts
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS made (id uuid, tenant_id uuid, asset_id uuid, generation int,
            profile text, profile_version int, content_sha256 text, object_key text, content_type text, format text,
            width int, height int, duration_s double precision, size bigint, sha256 text, parts jsonb)
        ON CONFLICT (asset_id, profile) DO UPDATE SET generation = excluded.generation,
            profile_version = excluded.profile_version, content_sha256 = excluded.content_sha256,
            object_key = excluded.object_key, content_type = excluded.content_type, format = excluded.format,
            width = excluded.width, height = excluded.height, duration_s = excluded.duration_s, size = excluded.size,
            sha256 = excluded.sha256, parts = excluded.parts, created_at = now()
        RETURNING asset_id, created_at, {_COLUMNS}
    )
    SELECT asset_id, created_at, {_COLUMNS} FROM new
    UNION ALL
    SELECT asset_id, created_at, {_COLUMNS} FROM variants old WHERE asset_id = ANY(CAST(:assets AS uuid[]))
        AND NOT EXISTS (SELECT FROM new WHERE (new.asset_id, new.profile) = (old.asset_id, old.profile))
    ORDER BY created_at, profile
""")  # noqa: S608 - made of constants
# One probe for each that is wanted: of bytes that are uploaded every day there are as many rows as uploads. It asks for
# the first one in the index's order: for any one, a plan may walk over them all.
_OF_CONTENT = sa.text(f"""
    SELECT {", ".join(f"made.{name}" for name in NewVariant.__struct_fields__)}
    FROM unnest(CAST(:profiles AS text[]), CAST(:versions AS int[])) AS wanted (name, version), LATERAL (
        SELECT {_COLUMNS} FROM variants
        WHERE tenant_id = :tenant_id AND content_sha256 = :sha256
            AND (profile, profile_version) >= (wanted.name, wanted.version)
        ORDER BY profile, profile_version LIMIT 1
    ) AS made
    WHERE made.profile = wanted.name AND made.profile_version = wanted.version
""")  # noqa: S608 - made of constants
_READABLE = sa.text(f"""
    SELECT {_COLUMNS} FROM variants WHERE tenant_id = :tenant_id AND asset_id = :asset_id AND profile = ANY(:profiles)
        AND EXISTS (SELECT FROM assets WHERE id = :asset_id AND state <> 'deleted')
    ORDER BY created_at, profile
""")  # noqa: S608 - made of constants
_COMMITTED = sa.text("SELECT profile FROM variants WHERE asset_id = :asset_id AND generation = :generation")


_CONTENTS = sa.text("""
    SELECT sha256 FROM content WHERE tenant_id = :tenant_id AND sha256 > :after ORDER BY sha256 LIMIT :limit
""")
_COUNT_CONTENTS = sa.text("SELECT count(*) FROM content WHERE tenant_id = ANY(CAST(:tenants AS uuid[]))")
_KEPT = sa.text(f"""
    SELECT made.*, assets.object_key AS source
    FROM (
        SELECT id, asset_id, created_at AS made_at, {_COLUMNS} FROM variants
        WHERE tenant_id = :tenant_id AND content_sha256 = ANY(:contents)
    ) AS made JOIN assets ON assets.id = made.asset_id
    WHERE assets.state <> 'deleted' AND (CAST(:since AS timestamptz) IS NULL OR assets.created_at >= :since)
    ORDER BY made.asset_id, made.profile
""")  # noqa: S608 - made of constants
# By its time, too: what was made again since it was looked at is there.
_UNCHANGED = sa.text("""
    SELECT variants.id FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[])) AS seen (id, made_at)
        JOIN variants ON variants.id = seen.id AND variants.created_at = seen.made_at
        JOIN assets ON assets.id = variants.asset_id AND assets.state <> 'deleted'
""")
_FORGET = sa.text("DELETE FROM variants WHERE id = ANY(CAST(:ids AS uuid[]))")


class Kept(NamedTuple):
    """A variant's row, and under which key its asset's upload stands."""

    id: UUID
    asset_id: UUID
    made_at: datetime
    source: str
    variant: NewVariant


class Addition(NamedTuple):
    """What was made for an asset in one go; none is not too few."""

    tenant_id: UUID
    asset_id: UUID
    generation: int
    variants: Sequence[NewVariant]


async def add_variants(connection: AsyncConnection, additions: Sequence[Addition]) -> dict[UUID, tuple[Variant, ...]]:
    """Write variant rows; a new generation replaces what an older one made of the same profile.

    Returns all the variants that these assets have now, as events show them, by asset.
    """
    rows = [
        {"id": uuid7(), "tenant_id": one.tenant_id, "asset_id": one.asset_id, "generation": one.generation}
        | variant.columns()
        for one in additions
        for variant in one.variants
    ]
    values = {"rows": json_text(rows), "assets": [one.asset_id for one in additions]}
    found: dict[UUID, tuple[Variant, ...]] = {}
    for row in await connection.execute(_ADD, values):
        variant = _from_row(row._mapping).public()  # noqa: SLF001 - SQLAlchemy's documented name
        found[row.asset_id] = (*found.get(row.asset_id, ()), variant)
    return found


async def readable(
    connection: AsyncConnection, tenant_id: UUID, asset_id: UUID, profiles: Sequence[str]
) -> tuple[NewVariant, ...]:
    """Those of an asset's variants that are of these profiles; none of an asset that was deleted."""
    values = {"tenant_id": tenant_id, "asset_id": asset_id, "profiles": list(profiles)}
    rows = await connection.execute(_READABLE, values)
    return tuple(_from_row(row._mapping) for row in rows)  # noqa: SLF001 - SQLAlchemy's documented name


async def of_content(
    connection: AsyncConnection, tenant_id: UUID, sha256: bytes, wanted: Iterable[Profile]
) -> tuple[NewVariant, ...]:
    """What was ever made of these bytes for this tenant by these profiles in their versions, one row for each."""
    pairs = [(profile.name, profile.version) for profile in wanted]
    values = {
        "tenant_id": tenant_id, "sha256": sha256, "profiles": [name for name, _ in pairs],
        "versions": [version for _, version in pairs],
    }  # fmt: skip
    rows = await connection.execute(_OF_CONTENT, values)
    return tuple(_from_row(row._mapping) for row in rows)  # noqa: SLF001 - SQLAlchemy's documented name


async def committed_profiles(connection: AsyncConnection, asset_id: UUID, generation: int) -> frozenset[str]:
    """The profiles that an earlier attempt of this generation has committed: a retry skips them."""
    return frozenset((await connection.execute(_COMMITTED, {"asset_id": asset_id, "generation": generation})).scalars())


async def count_contents(connection: AsyncConnection, tenants: Sequence[UUID]) -> int:
    """How many different contents these tenants have uploaded."""
    return int((await connection.execute(_COUNT_CONTENTS, {"tenants": list(tenants)})).scalar_one())


async def next_contents(connection: AsyncConnection, tenant_id: UUID, *, after: bytes, limit: int) -> list[bytes]:
    """A tenant's next contents, by their hashes, from after one."""
    values = {"tenant_id": tenant_id, "after": after, "limit": limit}
    return [bytes(sha256) for sha256 in (await connection.execute(_CONTENTS, values)).scalars()]


async def kept(
    connection: AsyncConnection, tenant_id: UUID, contents: Sequence[bytes], *, since: datetime | None
) -> list[Kept]:
    """What rows say was made of these contents for assets that are not deleted, and not made before `since`."""
    rows = await connection.execute(_KEPT, {"tenant_id": tenant_id, "contents": list(contents), "since": since})
    return [
        Kept(row.id, row.asset_id, row.made_at, row.source, _from_row(row._mapping))  # noqa: SLF001 - as above
        for row in rows
    ]


async def unchanged(connection: AsyncConnection, seen: Sequence[Kept]) -> frozenset[UUID]:
    """The ids of rows that still are as they were read; until the transaction ends, they stay so."""
    await lock_assets(connection, [one.asset_id for one in seen])
    values = {"ids": [one.id for one in seen], "times": [one.made_at for one in seen]}
    return frozenset((await connection.execute(_UNCHANGED, values)).scalars())


async def forget(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """Delete rows. The caller has locked their assets."""
    await connection.execute(_FORGET, {"ids": list(ids)})


def _from_row(row: sa.RowMapping) -> NewVariant:
    values = {name: row[name] for name in NewVariant.__struct_fields__}
    parts = msgspec.convert(values["parts"] or [], tuple[Part, ...])
    hashes = {name: bytes(values[name]) for name in ("content_sha256", "sha256")}
    return NewVariant(**(values | hashes | {"parts": parts}))
