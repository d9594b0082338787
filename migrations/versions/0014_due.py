"""Webhook deliveries that have just come due are found without asking about every endpoint that has any waiting.

Of a table of many millions of rows the index is made beforehand, as for step 0011.
"""

from migrations.scripts import run_script

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0014_due.sql")


def downgrade() -> None:
    raise NotImplementedError("Expand-only: the release before runs on this schema as it is.")
