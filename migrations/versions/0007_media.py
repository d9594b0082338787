"""Variants of several objects, and how far a job is."""

from migrations.scripts import run_script

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0007_media.sql")


def downgrade() -> None:
    raise NotImplementedError("Expand-only: the release before runs on this schema as it is.")
