"""What statements must not say, since it shows only later: after a migration, or with many rows."""

import re
from pathlib import Path

import pytest

import connectors.postgres
import migrations

SQL = "\n".join(path.read_text() for path in (Path(migrations.__file__).parent / "versions").glob("*.sql"))
STORED = "|".join(sorted(set(re.findall(r"CREATE (?:TABLE|FUNCTION) (\w+)", SQL))))
STAR = re.compile(rf"RETURNING\s+(?:\w+\.)?\*|[\w)]\s+(?:\w+\.)?\*(?:\s|,[^()]*?)FROM\s+(?:{STORED})\b")
VOLATILE = re.compile(r"(?:due_at|lease_until|next_emit_at|created_at|deleted_at)\s*[<>]=?\s*clock_timestamp\(\)")
MODULES = sorted(Path(connectors.postgres.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_statement_takes_whatever_columns_a_table_has(module):
    """One that is prepared fails, once, when a migration adds to what `*` means."""
    assert STAR.search(module.read_text()) is None


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_what_is_searched_by_time_is_found_by_index(module):
    """`clock_timestamp()` may be another for every row, so each row is looked at; `statement_timestamp()` is not."""
    assert VOLATILE.findall(module.read_text()) == []


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("SELECT * FROM variants", True),
        ("SELECT DISTINCT ON (profile) * FROM variants old", True),
        ("SELECT a.*, 1 FROM assets a", True),
        ("UPDATE jobs SET a = 1 RETURNING *", True),
        ("SELECT * FROM find_principal(:prefix)", True),
        ("WITH new AS (SELECT 1 AS one) SELECT * FROM new", False),
        ("SELECT * FROM unnest(CAST(:ids AS uuid[])) AS given (id)", False),
        ("SELECT count(*) FROM jobs", False),
        ("SELECT 2 * 3 FROM jobs", False),
    ],
)
def test_what_counts_as_such(statement, wrong):
    assert (STAR.search(statement) is not None) == wrong
