"""Pages of a tenant that has deleted much, or asks for what it has little of: no more rows are read than shown."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from support.plans import Counting

from connectors.postgres.assets.views import EVERY_ASSET, AssetFilter, list_assets
from connectors.postgres.paging import Position
from schemas.states import AssetState, MediaKind

TENANT, ROWS, LIMIT = UUID(int=1), 20_000, 5
NEWEST = datetime(2026, 1, 1, tzinfo=UTC)
# The newest half of them are deleted; of the others, one in a thousand is something else than a ready picture, or bears
# the tag and the entry that are asked for.
FILL = f"""
    INSERT INTO tenants (id, slug) VALUES ('{TENANT}', 'listed');
    INSERT INTO assets (id, tenant_id, state, kind, file_name, content_type, size, object_key, created_at,
        tags, metadata, deleted_at)
    SELECT gen_random_uuid(), '{TENANT}', CASE WHEN i < {ROWS} / 2 THEN 'deleted' WHEN i % 1000 = 7 THEN 'failed'
            WHEN i % 1000 = 8 THEN 'cancelled' WHEN i % 1000 = 9 THEN 'pending' ELSE 'ready' END,
        CASE i % 1000 WHEN 1 THEN 'audio' WHEN 2 THEN 'video' ELSE 'image' END, 'a', 'image/jpeg', 3, 'uploads/' || i,
        '{NEWEST}'::timestamptz - i * interval '1 minute',
        CASE WHEN i % 1000 = 5 THEN ARRAY['all', 'few'] ELSE ARRAY['all'] END,
        CASE WHEN i % 1000 = 5 THEN '{{"order": "7"}}' ELSE '{{}}' END::jsonb,
        CASE WHEN i < {ROWS} / 2 THEN now() END
    FROM generate_series(1, {ROWS}) AS i;
    ANALYZE assets, asset_terms;
"""


@pytest.fixture(scope="module")
def filled(database):
    with psycopg.connect(database.owner) as owner:
        owner.execute(FILL)


ASKED = {
    "all": EVERY_ASSET,
    "failed": AssetFilter(state=AssetState.FAILED),
    "cancelled": AssetFilter(state=AssetState.CANCELLED),
    "pending": AssetFilter(state=AssetState.PENDING),
    "processing": AssetFilter(state=AssetState.PROCESSING),
    "audio": AssetFilter(kind=MediaKind.AUDIO),
    "ready films": AssetFilter(state=AssetState.READY, kind=MediaKind.VIDEO),
    "tag": AssetFilter(tags=("few",)),
    "tag of all": AssetFilter(tags=("all",)),
    "tag of none": AssetFilter(tags=("nope",)),
    "metadata": AssetFilter(metadata={"order": "7"}),
    "metadata of none": AssetFilter(metadata={"order": "8"}),
    "tags and metadata": AssetFilter(tags=("few", "all"), metadata={"order": "7"}),
    "tag and state": AssetFilter(tags=("all",), state=AssetState.FAILED),
    "rare tag and state": AssetFilter(tags=("few",), state=AssetState.READY),
    "tag and film": AssetFilter(tags=("all",), kind=MediaKind.VIDEO),
    "tag to": AssetFilter(tags=("all",), created_to=NEWEST - timedelta(minutes=ROWS - 3)),
    "from": AssetFilter(created_from=NEWEST),
    "to": AssetFilter(created_to=NEWEST - timedelta(minutes=ROWS - 3)),
}
DEEP = Position(NEWEST - timedelta(minutes=ROWS - 100), UUID(int=0))


@pytest.mark.parametrize("after", [None, DEEP], ids=["first", "deep"])
@pytest.mark.parametrize("asked", ASKED)
async def test_a_page_looks_at_what_it_shows(app, filled, asked, after):
    async with app.tenant(TENANT) as connection:
        counting = Counting(connection, "assets", "asset_terms")
        shown = await list_assets(counting, TENANT, limit=LIMIT, where=ASKED[asked], after=after)
    where = ASKED[asked]
    terms = len(where.tags) + len(where.metadata)
    # With terms the state's own order is walked beside theirs, and then the rows are looked at.
    twice = bool(terms and (where.state or where.kind))
    assert counting.looked_at["assets"] <= (len(shown) + 1) * (1 + twice)
    assert counting.looked_at["asset_terms"] <= (len(shown) + 1) * terms
    assert all(set(where.tags) <= set(one.tags) and where.metadata.items() <= one.metadata.items() for one in shown)
