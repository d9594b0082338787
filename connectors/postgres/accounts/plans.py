"""Plans: what tenants may use, as rows that operators change. None in a limit means that there is none."""

import re

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import audit
from schemas.errors import ErrorCode, MedialaneError

_NAME = re.compile("[a-z0-9][a-z0-9-]{0,62}")  # the table has the same check
_COLUMNS = "name, requests_per_s, request_burst, max_assets, max_bytes, max_uploads"
_LIST = sa.text(f"SELECT {_COLUMNS} FROM plans ORDER BY name")  # noqa: S608 - made of constants
_PUT = sa.text(f"""
    INSERT INTO plans ({_COLUMNS})
    VALUES (:name, :requests_per_s, :request_burst, :max_assets, :max_bytes, :max_uploads)
    ON CONFLICT (name) DO UPDATE SET requests_per_s = excluded.requests_per_s, request_burst = excluded.request_burst,
        max_assets = excluded.max_assets, max_bytes = excluded.max_bytes, max_uploads = excluded.max_uploads,
        updated_at = now()
""")  # noqa: S608 - made of constants
_EXISTS = sa.text("SELECT FROM plans WHERE name = :name")
_ASSIGN = sa.text("UPDATE tenants SET plan = :name WHERE slug = :slug RETURNING id")
# What was used is counted anew: nobody counted it while there was no quota.
_RECOUNT = sa.text("UPDATE allowances SET assets = NULL, bytes = NULL, tokens = NULL WHERE tenant_id = :tenant_id")
_RECOUNT_PLAN = sa.text("""
    UPDATE allowances SET assets = NULL, bytes = NULL, tokens = NULL
    WHERE tenant_id IN (SELECT id FROM tenants WHERE plan = :name)
""")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Requests per second and how many may come at once; assets, their bytes, and uploads that are open at a time."""

    name: str
    requests_per_s: int | None = None
    request_burst: int | None = None
    max_assets: int | None = None
    max_bytes: int | None = None
    max_uploads: int | None = None


async def list_plans(connection: AsyncConnection) -> tuple[Plan, ...]:
    """Every plan, by name."""
    return tuple(Plan(**row) for row in (await connection.execute(_LIST)).mappings())


async def put_plan(connection: AsyncConnection, plan: Plan, *, actor: str = "operator") -> None:
    """Make a plan, or change it for all of its tenants; API processes follow within seconds.

    Raises `MedialaneError(invalid_request)` for what is no name of a plan.
    """
    if _NAME.fullmatch(plan.name) is None:
        detail = f"{plan.name[:80]!r} is no name for a plan: 1 to 63 of a-z, 0-9 and '-', no '-' first."
        raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="name")
    limits = msgspec.structs.asdict(plan)
    await audit.note(connection, actor=actor, action="plan.set", subject=plan.name, detail=limits)
    await connection.execute(_PUT, msgspec.structs.asdict(plan))
    await connection.execute(_RECOUNT_PLAN, {"name": plan.name})


async def assign_plan(connection: AsyncConnection, slug: str, name: str, *, actor: str = "operator") -> None:
    """Put a tenant on a plan. Raises `MedialaneError(not_found)`."""
    if (await connection.execute(_EXISTS, {"name": name})).one_or_none() is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no plan {name!r}.", field="plan")
    tenant_id = (await connection.execute(_ASSIGN, {"slug": slug, "name": name})).scalar_one_or_none()
    if tenant_id is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no tenant {slug!r}.", field="slug")
    await connection.execute(_RECOUNT, {"tenant_id": tenant_id})
    await audit.note(connection, actor=actor, action="tenant.plan", tenant_id=tenant_id, subject=name)
