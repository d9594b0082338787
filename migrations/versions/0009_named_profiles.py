"""Uploads that name what is to be made of them."""

from migrations.scripts import run_script

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0009_named_profiles.sql")


def downgrade() -> None:
    raise NotImplementedError("Expand-only: the release before runs on this schema as it is.")
