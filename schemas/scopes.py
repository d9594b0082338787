"""What an API key may do: scopes, and which of them are a wildcard over others."""

from collections.abc import Collection
from enum import StrEnum


class Scope(StrEnum):
    """Published words; `<resource>:*` covers everything on a resource, `admin` covers all."""

    ASSETS_READ = "assets:read"
    ASSETS_WRITE = "assets:write"
    WEBHOOKS = "webhooks:*"
    PROFILES = "profiles:*"
    KEYS = "keys:*"
    ADMIN = "admin"


DEFAULT_SCOPES: tuple[Scope, ...] = (Scope.ASSETS_READ, Scope.ASSETS_WRITE, Scope.WEBHOOKS, Scope.PROFILES)
"""What an application needs: everything but keys."""


def permits(granted: Collection[str], needed: Scope) -> bool:
    """Whether a key with the scopes `granted` may do what `needed` names."""
    return needed in granted or Scope.ADMIN in granted
