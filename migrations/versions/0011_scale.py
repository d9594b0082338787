"""What tables of many millions of rows need: an index for each question, and a vacuum that comes in time.

Each index is made in this step's transaction, which keeps writers of its table out while the table is read: seconds
for a million rows, minutes for a hundred million. Whose tables are that large makes the indexes beforehand, while
everything runs: each statement of 0011_scale.sql with CONCURRENTLY behind INDEX, outside a transaction. What is there
by name is left as it is, so that the step then takes a moment. One that was broken off leaves an index that is invalid
(\\d shows it): drop it, and make it again.
"""

from migrations.scripts import run_script

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0011_scale.sql")


def downgrade() -> None:
    raise NotImplementedError("Expand-only: the release before runs on this schema as it is.")
