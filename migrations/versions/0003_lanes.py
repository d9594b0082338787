"""Lane settings and tenants' shares, which change while workers run."""

from migrations.scripts import run_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0003_lanes.sql")


def downgrade() -> None:
    raise NotImplementedError("Tables are only ever added: go back to the former release, which does not read them.")
