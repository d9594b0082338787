"""What is kept for a time only, deleted when the time is over."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import audit, idempotency
from connectors.postgres.accounts import keys
from connectors.postgres.assets import purge
from connectors.postgres.database import Database
from connectors.postgres.protocol import letters
from connectors.postgres.webhooks import old_deliveries, old_endpoints
from schemas.settings import KeeperSettings
from streams.keeper.outages import PASSING

log = structlog.get_logger(__name__)

_INTERVAL_S = 60.0
_BATCH = 500
_MOST_BATCHES = 100  # in a round: a first one may find months of them, and the others' turn has to come


class Rule(Protocol):
    """Deletes up to `batch` rows whose time is over; returns how many."""

    async def __call__(self, connection: AsyncConnection, *, batch: int) -> int: ...


class Housekeeping:
    """Deletes what may no longer be asked for, once a minute or for as long as there is more, until cancelled.

    Any number of keepers may.
    """

    def __init__(self, database: Database, settings: KeeperSettings) -> None:
        self._database = database
        self._rules: Mapping[str, Rule] = {
            "answers": idempotency.purge,
            "deliveries": partial(old_deliveries.purge, kept_s=settings.delivery_retention_s),
            "endpoints": partial(old_endpoints.purge, kept_s=settings.delivery_retention_s),
            "endpoint secrets": old_endpoints.forget_old_secrets,
            "assets": purge.forget,
            "undecodable records": partial(letters.purge_records, kept_s=settings.letter_retention_s),
            "keys": partial(keys.purge, kept_s=settings.key_retention_s),
            "audit": partial(audit.purge, kept_s=settings.audit_retention_s),
        }

    async def run(self) -> None:
        """Clean for ever; an outage of the database is waited out."""
        while True:
            if await self.clean():
                await asyncio.sleep(_INTERVAL_S)

    async def clean(self) -> bool:
        """One round; what can not be deleted now stands before nothing else. False: more may be left."""
        done = True
        for what, rule in self._rules.items():
            try:
                deleted = await self._delete(rule)
            except PASSING as error:
                log.warning("not everything old was deleted", what=what, error=str(error))
                continue
            done = done and deleted < _BATCH * _MOST_BATCHES
            if deleted:
                log.info("old rows deleted", what=what, rows=deleted)
        return done

    async def _delete(self, rule: Rule) -> int:
        """So many rows in a transaction that none lasts long, whatever has gathered."""
        deleted = 0
        for _ in range(_MOST_BATCHES):
            async with self._database.transaction() as connection:
                some = await rule(connection, batch=_BATCH)
            deleted += some
            if some < _BATCH:
                break
        return deleted
