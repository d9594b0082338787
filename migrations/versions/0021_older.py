"""Bytes that failed are tried again by a release that reads more; what lanes sent back is counted by its own index.

Of a table of many millions of rows the index is made beforehand, as for step 0011.
"""

from migrations.scripts import run_script

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0021_older.sql")


def downgrade() -> None:
    raise NotImplementedError("Expand-only: the release before runs on this schema as it is.")
