"""Says at the start which encryption keys were taken away too early: what is sealed under them is not sent."""

import asyncio

import structlog

from connectors.postgres.accounts.sealed import endpoint_heads
from connectors.postgres.database import Database
from connectors.secrets import SecretBox
from schemas.errors import MedialaneError
from schemas.settings import WebhookSettings, variable
from streams.webhooks.pace import pause

log = structlog.get_logger(__name__)


async def tell_of_missing_keys(database: Database, box: SecretBox) -> None:
    """Look as soon as the database answers, and name in the log the keys that are not set; then wait for ever."""
    failures = 0
    while True:
        try:
            async with database.transaction() as connection:
                heads = await endpoint_heads(connection)
            break
        except MedialaneError:
            failures += 1
            await pause(failures)
    if missing := box.missing(heads):
        log.error(
            "webhook endpoints are sealed under keys that are not set: nothing is sent to them",
            keys=missing,
            settings=[variable(WebhookSettings, name) for name in ("encryption_key", "encryption_key_old")],
        )
    await asyncio.Event().wait()
