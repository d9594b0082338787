"""Callers as the API knows them, for tests of what is behind its routes."""

from connectors.postgres.accounts.keys import Principal
from schemas.ids import uuid7


def principal(**known):
    """One without scopes, of a new tenant and on no plan, but for what is known of it."""
    unknown = {
        "key_id": None, "actor": "key:test", "tenant_id": uuid7(), "slug": "t", "scopes": frozenset(), "expires_at": None,
    }  # fmt: skip
    return Principal(**unknown | known)
