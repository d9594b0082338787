"""What waits for the keeper is taken tenant by tenant: one with very many rows delays nobody else's.

Of tables of many millions of rows the indexes are made beforehand, as for step 0011.
"""

from migrations.scripts import run_script

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0020_turns.sql")


def downgrade() -> None:
    raise NotImplementedError("Expand-only: the release before runs on this schema as it is.")
