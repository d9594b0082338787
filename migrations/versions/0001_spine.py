"""The spine: tenants to webhooks, the outbox and its publication, the four database roles."""

from importlib import resources

from alembic import op
from psycopg import errors
from sqlalchemy.exc import ProgrammingError

from migrations.runner import RoleNeededError

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
        _make_role(role, options)
    script = (resources.files("migrations") / "versions" / "0001_spine.sql").read_text(encoding="utf-8")
    # Straight to psycopg, without parameters: the script's own % signs are format()'s, not placeholders.
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise RuntimeError("the migration's connection was lost")
    driver.execute(script)


def _make_role(role: str, options: str) -> None:
    """Make a role unless it is there; whoever may make none is refused even if it is. Others may make it meanwhile."""
    try:
        op.execute(
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN "
            f"CREATE ROLE {role} {options}; END IF; "
            "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
    except ProgrammingError as error:
        if not isinstance(error.orig, errors.InsufficientPrivilege):
            raise
        raise RoleNeededError(
            f"there is no role {role}, and the role that migrates may not make one with {options}. Make it yourself "
            f"(for REPLICATION with what your provider has, on Amazon RDS: GRANT rds_replication TO {role}), and run "
            "`medialane migrate` again"
        ) from error


def downgrade() -> None:
    raise NotImplementedError("The first migration is not undone: drop the database instead.")
