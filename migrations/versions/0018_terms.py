"""Lists by tag or metadata find what they show: a table of terms beside the assets, kept by a trigger.

The assets that are there are entered while everything runs, some thousand in a transaction, which keeps those rows and
no table from writers: hours for a hundred million. Broken off, it goes on where it was. Then the indexes go that were
to serve these lists: row-level security never let them, and each change of an asset's state wrote into them.
"""

from typing import TYPE_CHECKING, Any

import psycopg
from alembic import op

from migrations.scripts import run_script

if TYPE_CHECKING:
    from psycopg import Connection

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

BATCH = 2000

_NEXT = """
    SELECT id FROM (SELECT id FROM assets WHERE id > (SELECT up_to FROM terms_entered) ORDER BY id LIMIT %s) AS next
    ORDER BY id DESC LIMIT 1
"""
# Locked: whoever changes one of them meanwhile would take away terms that are not there yet, or see its own come back.
_ENTER = """
    WITH held AS MATERIALIZED (
        SELECT tenant_id, created_at, id, tags, metadata FROM assets
        WHERE id > (SELECT up_to FROM terms_entered) AND id <= %s AND deleted_at IS NULL
            AND (tags <> '{}' OR metadata <> '{}') ORDER BY id FOR SHARE
    )
    INSERT INTO asset_terms (tenant_id, term, created_at, asset_id)
    SELECT tenant_id, term, created_at, id FROM held, unnest(terms_of(tags, metadata)) AS term
    ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    run_script("0018_terms.sql")
    with op.get_context().autocommit_block():
        driver = op.get_bind().connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError("the migration's connection was lost")
        while _enter(driver):
            pass
        driver.execute("ANALYZE asset_terms")
    op.execute("DROP INDEX IF EXISTS assets_tags, assets_metadata")
    op.execute("DROP TABLE terms_entered")


def _enter(driver: "Connection[Any]") -> bool:
    """Enter some of the assets; False if none are left."""
    with driver.transaction():
        last = driver.execute(_NEXT, (BATCH,)).fetchone()
        if last is not None:
            driver.execute(_ENTER, last)
            driver.execute("UPDATE terms_entered SET up_to = %s", last)
        return last is not None


def downgrade() -> None:
    raise NotImplementedError("Expand-only: the release before runs on this schema as it is.")
