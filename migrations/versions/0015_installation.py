"""An installation has an id, by which its bucket can be told from others'."""

from migrations.scripts import run_script

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0015_installation.sql")


def downgrade() -> None:
    raise NotImplementedError("Expand-only: the release before runs on this schema as it is.")
