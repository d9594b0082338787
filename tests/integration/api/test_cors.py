"""Pages of other origins: a tenant's own may call and read, others may not; headers that every answer carries."""

import pytest
import sqlalchemy as sa

PAGE = "https://app.example"


@pytest.fixture
async def allowed(caller, operator):
    async with operator.database.transaction() as connection:
        statement = sa.text("UPDATE tenants SET allowed_origins = ARRAY[:page] WHERE id = :id")
        await connection.execute(statement, {"page": PAGE, "id": caller.tenant_id})
    return caller


def preflight(caller, origin):
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
    }
    return caller.call("OPTIONS", "/api/v1/storage/presign", headers=headers)


async def test_a_preflight_passes_for_a_known_origin_only(allowed):
    status, _, headers = await preflight(allowed, PAGE)
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, PAGE)
    assert headers["Access-Control-Allow-Headers"] == "authorization, content-type, idempotency-key"
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert "Origin" in headers["Vary"]
    status, _, headers = await preflight(allowed, "https://evil.example")
    assert (status, "Access-Control-Allow-Origin" in headers) == (204, False)


async def test_an_answer_is_shown_to_the_tenants_own_pages(allowed, new_caller):
    _, _, headers = await allowed.call("GET", "/api/v1/assets", headers={"Origin": PAGE})
    assert headers["Access-Control-Allow-Origin"] == PAGE
    assert "RateLimit" in headers["Access-Control-Expose-Headers"]
    other = await new_caller()
    _, _, headers = await other.call("GET", "/api/v1/assets", headers={"Origin": PAGE})
    assert "Access-Control-Allow-Origin" not in headers


async def test_a_page_can_read_why_it_was_refused(allowed):
    status, _, headers = await allowed.call("GET", "/api/v1/assets", headers={"Origin": PAGE}, key="mp_none")
    assert (status, headers["Access-Control-Allow-Origin"]) == (401, PAGE)


async def test_every_answer_carries_what_protects_browsers(caller):
    for path in ("/api/v1/assets", "/api/v1/nothing", "/healthz", "/schema"):
        _, headers = await _raw(caller, path)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        private = path.startswith("/api/")
        assert (headers.get("Cache-Control") == "no-store") == private
        assert ("Content-Security-Policy" in headers) == private


async def _raw(caller, path):
    async with caller.session.get(caller.base + path) as response:
        return response.status, response.headers
