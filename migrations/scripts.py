"""Runs the SQL file beside a revision, as it stands (0001 has its own copy: what landed is not edited)."""

from importlib import resources

from alembic import op


def run_script(name: str) -> None:
    """Run `versions/NAME` in the migration's transaction.

    A script that says `COMMIT; BEGIN;` ends that and goes on in a next one, which has the step's number in the end: who
    locks a second table while he holds a first one stands in the way of whoever takes them in another order.
    """
    script = (resources.files("migrations") / "versions" / name).read_text(encoding="utf-8")
    # Straight to psycopg, without parameters: the script's own % signs are format()'s, not placeholders.
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise RuntimeError("the migration's connection was lost")
    driver.execute(script)
