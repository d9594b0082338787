"""Keys that ended and entries of the audit log are kept for a time only.

Of tables of many millions of rows the indexes are made beforehand, as for step 0011.
"""

from migrations.scripts import run_script

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0019_kept.sql")


def downgrade() -> None:
    raise NotImplementedError("Expand-only: the release before runs on this schema as it is.")
