"""The page that says where personal data is and how long: nothing that is kept may be missing on it."""

import re
from pathlib import Path

import pytest

from schemas.settings import KeeperSettings, variable
from schemas.topics import TOPICS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")

_MADE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)")
TABLES = {
    table
    for step in (ROOT / "migrations" / "versions").glob("*.sql")
    for table in _MADE.findall(step.read_text(encoding="utf-8"))
}
TIMES = [name for name in KeeperSettings.__struct_fields__ if name.endswith(("_retention_s", "_age_s"))]


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_is_on_it(table: str) -> None:
    assert f"`{table}`" in TEXT


@pytest.mark.parametrize("topic", [topic.route for topic in TOPICS])
def test_every_topic_is_on_it(topic: str) -> None:
    assert f"`{topic}`" in TEXT


@pytest.mark.parametrize("name", TIMES)
def test_every_time_that_can_be_changed_is_on_it(name: str) -> None:
    assert f"`{variable(KeeperSettings, name)}`" in TEXT
