"""Deliveries of an endpoint that has had many: no more rows are read than shown, recovered or counted."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from support.plans import Counting

from connectors.postgres.webhooks import delivery_views
from connectors.postgres.webhooks.delivery_views import EVERY_DELIVERY, DeliveryFilter, list_deliveries
from connectors.postgres.webhooks.resending import Span, Which, count_recoverable, recover
from schemas.ids import first_uuid7
from schemas.states import DeliveryState

pytestmark = pytest.mark.usefixtures("filled")

DELIVERIES = "webhook_deliveries"
TENANT, ENDPOINT, OTHER, ASSET = (UUID(int=number) for number in range(1, 5))
ROWS, LIMIT, WALKED = 20_000, 5, 500
NEWEST = datetime(2026, 1, 1, tzinfo=UTC)
# A minute between events; to one endpoint one in five hundred is dead, and one waits. To the other one in four waits.
FILL = f"""
    INSERT INTO tenants (id, slug) VALUES ('{TENANT}', 'told');
    INSERT INTO webhook_endpoints (id, tenant_id, url, secret, events)
    SELECT id, '{TENANT}', 'http://a.example/', '\\x00', '{{*}}' FROM unnest(ARRAY['{ENDPOINT}', '{OTHER}']::uuid[]) AS id;
    INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload, state, due_at,
        created_at, finished_at)
    SELECT gen_random_uuid(), '{TENANT}', endpoint_id, hex::uuid,
        CASE WHEN i % 1000 = 0 THEN 'asset.failed' ELSE 'asset.ready' END,
        CASE WHEN i % 1000 = 7 THEN '{ASSET}' ELSE gen_random_uuid() END, 1, '{{}}', state,
        CASE WHEN state = 'waiting' THEN now() + interval '1 hour' END, at,
        CASE WHEN state <> 'waiting' THEN at END
    FROM generate_series(1, {ROWS}) AS i
    CROSS JOIN LATERAL (SELECT '{NEWEST}'::timestamptz - i * interval '1 minute' AS at,
        lpad(to_hex((extract(epoch FROM '{NEWEST}'::timestamptz) * 1000 - i * 60000)::bigint), 12, '0') || '70008000'
            || lpad(to_hex(i), 12, '0') AS hex) AS made
    CROSS JOIN LATERAL (VALUES
        ('{ENDPOINT}'::uuid, CASE i % 500 WHEN 0 THEN 'dead' WHEN 1 THEN 'waiting' ELSE 'delivered' END),
        ('{OTHER}'::uuid, CASE i % 4 WHEN 0 THEN 'waiting' ELSE 'delivered' END)) AS told (endpoint_id, state);
    ANALYZE webhook_deliveries;
"""


@pytest.fixture(scope="module")
def filled(database):
    with psycopg.connect(database.owner) as owner:
        owner.execute(FILL)


ASKED = {
    "all": EVERY_DELIVERY,
    "dead": DeliveryFilter(state=DeliveryState.DEAD),
    "waiting": DeliveryFilter(state=DeliveryState.WAITING),
    "sending": DeliveryFilter(state=DeliveryState.SENDING),
    "delivered": DeliveryFilter(state=DeliveryState.DELIVERED),
    "asset": DeliveryFilter(asset_id=ASSET),
    "dead of an asset": DeliveryFilter(asset_id=ASSET, state=DeliveryState.DEAD),
}
DEEP = first_uuid7(NEWEST - timedelta(minutes=ROWS - 1600))


@pytest.mark.parametrize("after", [None, DEEP], ids=["first", "deep"])
@pytest.mark.parametrize("asked", ASKED)
async def test_a_page_looks_at_what_it_shows(app, asked, after, monkeypatch):
    monkeypatch.setattr(delivery_views, "MOST_WALKED", 100)  # of as many as wait here in all, any order would do
    async with app.tenant(TENANT) as connection:
        counting = Counting(connection, DELIVERIES)
        page = await list_deliveries(counting, TENANT, ENDPOINT, limit=LIMIT, where=ASKED[asked], after=after)
    few = 3 * (ROWS // 500)  # what waits, or is about one asset, is sorted
    assert counting.looked_at[DELIVERIES] <= (
        few if "asset" in asked or asked == "waiting" else len(page.deliveries) + 2
    )
    assert [row.event_id for row in page.deliveries] == sorted((row.event_id for row in page.deliveries), reverse=True)
    assert bool(page.deliveries) == (asked not in {"sending", "dead of an asset"})


async def test_what_no_index_tells_is_sought_among_so_many_at_a_time_and_all_of_it_is_found(app, monkeypatch):
    monkeypatch.setattr(delivery_views, "MOST_WALKED", WALKED)
    found, after, pages = [], None, 0
    async with app.tenant(TENANT) as connection:
        while pages == 0 or after is not None:
            counting = Counting(connection, DELIVERIES)
            where = DeliveryFilter(event_type="asset.failed", state=DeliveryState.DEAD)
            page = await list_deliveries(counting, TENANT, ENDPOINT, limit=LIMIT, where=where, after=after)
            assert counting.looked_at[DELIVERIES] <= 2 * WALKED
            pages, after = pages + 1, page.after
            found += page.deliveries
        by_type = DeliveryFilter(event_type="asset.failed")
        first = await list_deliveries(Counting(connection, DELIVERIES), TENANT, ENDPOINT, limit=LIMIT, where=by_type)
    assert len({row.id for row in found}) == len(found) == ROWS // 1000
    assert first.deliveries == ()
    assert first.after == min(row.event_id for row in await newest(app, WALKED))


async def test_what_waits_is_not_sorted_when_there_is_much_of_it(app, monkeypatch):
    monkeypatch.setattr(delivery_views, "MOST_WALKED", 20)
    async with app.tenant(TENANT) as connection:
        counting, where = Counting(connection, DELIVERIES), DeliveryFilter(state=DeliveryState.WAITING)
        page = await list_deliveries(counting, TENANT, ENDPOINT, limit=LIMIT, where=where)
    assert [row.state for row in page.deliveries] == ["waiting"]
    assert page.after is not None
    assert counting.looked_at[DELIVERIES] <= 4 * 20 + 2


async def newest(app, count):
    async with app.tenant(TENANT) as connection:
        return (await list_deliveries(connection, TENANT, ENDPOINT, limit=count)).deliveries


@pytest.mark.parametrize("which", Which)
async def test_recovering_looks_at_what_it_sends_again(app, which):
    span = Span(since=NEWEST - timedelta(minutes=ROWS), until=NEWEST - timedelta(minutes=100))
    async with app.tenant(TENANT) as connection:
        counting = Counting(connection, DELIVERIES)
        counted = await count_recoverable(connection, TENANT, ENDPOINT, span, which)
        done = await recover(counting, TENANT, ENDPOINT, span, which, actor="me", most=LIMIT)
        await connection.rollback()
    dead = ROWS // 500
    assert counted == ((dead, False) if which is Which.DEAD else (ROWS - 100 - dead + 1, False))
    assert (done.sent, done.resume is not None) == (LIMIT, True)
    # What is walked over, with one to go on with; each of these found, locked, and changed.
    assert counting.looked_at[DELIVERIES] <= 4 * LIMIT + 1
