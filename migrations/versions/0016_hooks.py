"""Webhook endpoints have a description and, for a while after a rotation, two secrets; deleted ones delay nobody.

Of a table of many millions of rows the indexes are made beforehand, as for step 0011.
"""

from migrations.scripts import run_script

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0016_hooks.sql")


def downgrade() -> None:
    raise NotImplementedError("Expand-only: the release before runs on this schema as it is.")
