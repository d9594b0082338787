"""The database's history is one line: two steps that follow the same one would leave nobody able to migrate. And no step
keeps everybody from a table while it reads all of one, or holds one while it waits for another.
"""

import re
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

import migrations
from migrations.runner import _config


def test_there_is_one_newest_step_and_numbers_go_up_by_one():
    scripts = ScriptDirectory.from_config(_config())
    assert len(scripts.get_heads()) == 1
    numbers = [script.revision for script in scripts.walk_revisions()][::-1]
    assert numbers == [f"{number:04d}" for number in range(1, len(numbers) + 1)]


# Steps before these are of installations that exist.
SCRIPTS = [path for path in sorted(Path(migrations.__file__).parent.glob("versions/*.sql")) if path.name >= "0011"]
INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX (?:CONCURRENTLY )?(IF NOT EXISTS )?\w+ ON (?:ONLY )?(\w+)")
COLUMNS = re.compile(r"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?(\w+) (?:[^;]*, )?(?:ADD|ALTER|DROP|RENAME)\b")


CLAUSE = re.compile(
    r"(?:ADD (?:COLUMN )?\w+ [^,;]*?(?:CHECK|REFERENCES|UNIQUE|PRIMARY KEY|GENERATED|DEFAULT \w+\()"
    r"|ADD (?:CONSTRAINT \w+ )?(?:CHECK|FOREIGN KEY|UNIQUE|PRIMARY KEY|EXCLUDE)|SET NOT NULL| TYPE )[^;]*"
)


def scans(text, own):
    """The changes of tables that were there before which read, or write anew, every row while nobody else may."""
    found = []
    for change in re.finditer(r"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?(\w+) ([^;]*);", text):
        clause = CLAUSE.search(change[2])
        if change[1] not in own and clause and "NOT VALID" not in clause[0] and " USING INDEX" not in clause[0]:
            found.append(change[0])
    return found


def keeps_out(script):
    """The indexes over tables that were there before which nobody can make beforehand, or which are made while a table
    is locked against readers; and whatever else keeps all from such a table while it is read.
    """
    text = " ".join(re.sub(r"--.*", "", script).split())
    own = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", text))
    changed = [found.start() for found in COLUMNS.finditer(text) if found[1] not in own]
    indexes = [found for found in INDEX.finditer(text) if found[2] not in own]
    built = [found[0] for found in indexes if not found[1] or any(at < found.start() for at in changed)]
    return built + scans(text, own)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_indexes_can_be_made_beforehand_and_hold_no_reader_up(path):
    assert keeps_out(path.read_text()) == []


@pytest.mark.parametrize(
    ("script", "wrong"),
    [
        ("CREATE INDEX IF NOT EXISTS i ON a (b);\nALTER TABLE a ADD c text;", False),
        ("CREATE INDEX i ON a (b);", True),
        ("ALTER TABLE a\n    ADD c text;\nCREATE UNIQUE INDEX IF NOT EXISTS i ON b (c);", True),
        ("ALTER TABLE a SET (fillfactor = 80), ADD c text; CREATE INDEX IF NOT EXISTS i ON a (b);", True),
        ("ALTER TABLE a SET (fillfactor = 80); CREATE INDEX IF NOT EXISTS i ON a (b);", False),
        ("CREATE TABLE a (b int);\nALTER TABLE a ADD c text;\nCREATE INDEX i ON a (b);", False),
        ("-- ALTER TABLE a ADD c\nCREATE INDEX IF NOT EXISTS i ON a (b);", False),
        ("ALTER TABLE a ADD c int DEFAULT 0;", False),
        ("ALTER TABLE a ADD c int DEFAULT 0 CHECK (c >= 0);", True),
        ("ALTER TABLE a ADD c uuid DEFAULT gen_random_uuid();", True),
        ("ALTER TABLE a ADD c uuid REFERENCES b;", True),
        ("ALTER TABLE a ADD CONSTRAINT d CHECK (c >= 0);", True),
        ("ALTER TABLE a ADD CONSTRAINT d CHECK (c >= 0) NOT VALID;", False),
        ("ALTER TABLE a ADD CONSTRAINT d FOREIGN KEY (c) REFERENCES b (e);", True),
        ("ALTER TABLE a ALTER c SET NOT NULL;", True),
        ("ALTER TABLE a ALTER COLUMN c TYPE bigint;", True),
        ("ALTER TABLE a VALIDATE CONSTRAINT d;", False),
        ("CREATE TABLE a (b int);\nALTER TABLE a ADD c int CHECK (c >= 0);", False),
    ],
)
def test_what_counts_as_such(script, wrong):
    assert bool(keeps_out(script)) == wrong


LOCKS = re.compile(
    r"(?:\bINDEX (?:CONCURRENTLY )?(?:IF NOT EXISTS )?\w+ ON (?:ONLY )?|ALTER TABLE (?:IF EXISTS )?(?:ONLY )?|REFERENCES "
    r"|\b(?:TRIGGER|POLICY) (?:IF EXISTS )?\w+ (?:[^;]*? )?ON )(\w+)"
)


def at_once(script):
    """The tables that were there before of which one transaction locks more than one, and what would not go twice."""
    text = " ".join(re.sub(r"--.*", "", script).split())
    own = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", text))
    parts = [set(LOCKS.findall(part)) - own for part in text.split("COMMIT; BEGIN;")]
    once = re.findall(r"\b(?:ADD COLUMN|CREATE TABLE|INDEX) (?!IF NOT EXISTS)\w+", text) if len(parts) > 1 else []
    return [sorted(tables) for tables in parts if len(tables) > 1] + once


@pytest.mark.parametrize("path", [path for path in SCRIPTS if path.name >= "0016"], ids=lambda path: path.name)
def test_no_step_waits_for_a_table_while_it_holds_another(path):
    assert at_once(path.read_text()) == []


@pytest.mark.parametrize(
    ("script", "wrong"),
    [
        ("CREATE INDEX IF NOT EXISTS i ON a (b); ALTER TABLE a ADD COLUMN c int;", []),
        ("CREATE INDEX IF NOT EXISTS i ON a (b); ALTER TABLE d ADD COLUMN c int;", [["a", "d"]]),
        ("CREATE INDEX IF NOT EXISTS i ON a (b);\nCOMMIT; BEGIN;\nALTER TABLE d ADD COLUMN IF NOT EXISTS c int;", []),
        ("CREATE INDEX IF NOT EXISTS i ON a (b);\nCOMMIT; BEGIN;\nALTER TABLE d ADD COLUMN c int;", ["ADD COLUMN c"]),
        ("CREATE TABLE d (e uuid REFERENCES a); CREATE INDEX i ON d (e);", []),
        ("CREATE TABLE d (e uuid REFERENCES a); CREATE TRIGGER t AFTER UPDATE OF b ON f FOR EACH ROW;", [["a", "f"]]),
    ],
)
def test_what_counts_as_at_once(script, wrong):
    assert at_once(script) == wrong
