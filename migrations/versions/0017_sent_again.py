"""A tenant may look at its webhook deliveries, and have them sent again.

Of a table of many millions of rows the indexes are made beforehand, as for step 0011.
"""

from migrations.scripts import run_script

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0017_sent_again.sql")


def downgrade() -> None:
    raise NotImplementedError("Expand-only: the release before runs on this schema as it is.")
