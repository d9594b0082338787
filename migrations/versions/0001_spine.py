"""The spine: tenants to webhooks, the outbox and its publication, the four database roles."""

from importlib import resources

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Roles belong to the whole cluster: other databases, or an operator, may have made them already.
_ROLES = {
    "medialane_owner": "NOLOGIN",
    "medialane_app": "LOGIN",
    "medialane_worker": "LOGIN",
    "medialane_replication": "LOGIN REPLICATION",
}


def upgrade() -> None:
    for role, options in _ROLES.items():
        op.execute(
            f"DO $$ BEGIN CREATE ROLE {role} {options}; "
            "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
    script = (resources.files("migrations") / "versions" / "0001_spine.sql").read_text(encoding="utf-8")
    # Straight to psycopg, without parameters: the script's own % signs are format()'s, not placeholders.
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise RuntimeError("the migration's connection was lost")
    driver.execute(script)


def downgrade() -> None:
    raise NotImplementedError("The first migration is not undone: drop the database instead.")
