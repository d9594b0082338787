"""Lanes and shares as the tables have them, read every few seconds: what platform teams change needs no restart."""

import asyncio
import random
from typing import Any

import structlog

from connectors.postgres.database import Database
from connectors.postgres.placement import tuning
from schemas.errors import MedialaneError
from streams.core.lane import Bounds
from streams.core.roundrobin import Share, Shares
from streams.lanes import Lanes

log = structlog.get_logger(__name__)

_INTERVAL_S = 3.0


class Tuner:
    """Brings the lanes of one topic, and the shares in them, to what the tables say.

    What these do not say stays as the lanes were made; `route` is the topic without the installation's prefix.
    """

    def __init__(self, database: Database, lanes: Lanes[Any, Any], shares: Shares, *, route: str) -> None:
        self._database = database
        self._lanes = lanes
        self._shares = shares
        self._route = route
        self._own = lanes.bounds

    async def run(self) -> None:
        """Look until cancelled. While the database is away everything stays as it was."""
        while True:
            try:
                await self.look()
            except MedialaneError as error:
                log.warning("lane settings and shares were not read; they stay", error=str(error))
            await asyncio.sleep(_INTERVAL_S * random.uniform(0.8, 1.2))  # noqa: S311 - spreads, guards nothing

    async def look(self) -> None:
        """Look once. Raises `MedialaneError(database_unavailable)`."""
        async with self._database.transaction() as connection:
            lanes = await tuning.lane_tunings(connection)
            shares = await tuning.tenant_shares(connection)
        mine = next((lane for lane in lanes if lane.topic == self._route), tuning.LaneTuning(topic=self._route))
        bounds = Bounds.of(running=mine.running or self._own.running, window=mine.window or self._own.window)
        if bounds != self._lanes.bounds:
            log.info("lanes changed", topic=self._route, running=bounds.running, window=bounds.window)
            self._lanes.resize(bounds)
        named = {str(one.tenant_id): Share(weight=one.weight, cap=one.cap) for one in shares}
        if self._shares.replace(named):
            log.info("shares changed", tenants=len(named))
            self._lanes.deal()
