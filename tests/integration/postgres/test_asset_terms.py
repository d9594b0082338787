"""The terms that lists by tag and metadata go by are those of the assets, whoever wrote them, before the step or after."""

from uuid import UUID

import psycopg
import pytest

import migrations
from migrations import runner

TENANT, ASSETS = UUID(int=1), 5000  # more than two batches
FILL = f"""
    INSERT INTO tenants (id, slug) VALUES ('{TENANT}', 'listed');
    INSERT INTO assets (id, tenant_id, state, kind, file_name, content_type, size, object_key, tags, metadata, deleted_at)
    SELECT md5(i::text)::uuid, '{TENANT}', 'pending', 'image', 'a', 'image/jpeg', 3, 'uploads/' || i,
        CASE WHEN i % 2 = 0 THEN ARRAY['even', 'größe'] ELSE '{{}}' END,
        CASE WHEN i % 3 = 0 THEN '{{"by": "three"}}' ELSE '{{}}' END::jsonb, CASE WHEN i % 5 = 0 THEN now() END
    FROM generate_series(1, {ASSETS}) AS i;
"""
# What assets have and the table has not, and the other way round.
WRONG = """
    WITH wanted AS (
        SELECT tenant_id, unnest(terms_of(tags, metadata)), created_at, id FROM assets WHERE deleted_at IS NULL
    )
    (TABLE wanted EXCEPT TABLE asset_terms) UNION ALL (TABLE asset_terms EXCEPT TABLE wanted)
"""
# As any release writes: asset 2 has tags only, 6 both, 10 is deleted.
CHANGES = (
    "UPDATE assets SET tags = '{other,even}' WHERE id = md5('2')::uuid",
    "UPDATE assets SET metadata = '{}' WHERE id = md5('6')::uuid",
    "UPDATE assets SET state = 'deleted', deleted_at = now() WHERE id = md5('12')::uuid",
    "UPDATE assets SET tags = '{}', metadata = '{}' WHERE id = md5('10')::uuid",
    "DELETE FROM assets WHERE id = md5('18')::uuid",
)
COUNT = "SELECT count(*) FROM asset_terms"
LAST = "SELECT FROM assets WHERE deleted_at IS NULL AND tags <> '{}' ORDER BY id DESC LIMIT 1 FOR UPDATE"


@pytest.fixture
def owner(empty):
    migrations.upgrade(empty, target="0017")
    with psycopg.connect(empty, autocommit=True) as connection:
        yield connection


def right(owner):
    return owner.execute(WRONG).fetchall() == [] and owner.execute(COUNT).fetchone()[0] > 0


def test_a_step_that_is_broken_off_goes_on_and_what_was_written_meanwhile_is_right(empty, owner, monkeypatch):
    owner.execute(FILL)
    monkeypatch.setattr(runner, "_LOCK_TIMEOUT_MS", 50)
    monkeypatch.setattr(runner, "sleep", lambda _: None)
    with psycopg.connect(empty) as writer:
        writer.execute(LAST)
        with pytest.raises(migrations.TablesInUseError, match="migration 0018"):
            migrations.upgrade(empty, target="0018")
    entered = owner.execute(COUNT).fetchone()[0]
    assert entered > 0
    assert not right(owner)
    for change in CHANGES:
        owner.execute(change)
    migrations.upgrade(empty, target="0018")
    assert right(owner)


def test_terms_follow_what_is_written(empty, owner):
    migrations.upgrade(empty, target="0018")
    owner.execute(FILL)
    assert right(owner)
    for change in CHANGES:
        owner.execute(change)
        assert right(owner)
    owner.execute("DELETE FROM tenants")
    assert owner.execute(COUNT).fetchone() == (0,)
