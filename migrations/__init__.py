"""The database's history (Alembic), and the one way to move along it.

Two migrators at once are safe: the second waits on an advisory lock and then finds nothing to do.
"""

from migrations.runner import (
    DestructiveStepError,
    Phase,
    PhaseError,
    RoleNeededError,
    TablesInUseError,
    current,
    expanded_head,
    head,
    upgrade,
)

__all__ = [
    "DestructiveStepError",
    "Phase",
    "PhaseError",
    "RoleNeededError",
    "TablesInUseError",
    "current",
    "expanded_head",
    "head",
    "upgrade",
]
