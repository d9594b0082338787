"""Runs the SQL file beside a revision, as it stands (0001 has its own copy: what landed is not edited)."""

from importlib import resources

from alembic import op


def run_script(name: str) -> None:
    """Run `versions/NAME` in the migration's transaction."""
    script = (resources.files("migrations") / "versions" / name).read_text(encoding="utf-8")
    # Straight to psycopg, without parameters: the script's own % signs are format()'s, not placeholders.
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise RuntimeError("the migration's connection was lost")
    driver.execute(script)
