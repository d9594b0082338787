"""Assets know who announced them."""

from migrations.scripts import run_script

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0012_makers.sql")


def downgrade() -> None:
    raise NotImplementedError("Expand-only: the release before runs on this schema as it is.")
