"""The composition root of the API: what a process is given becomes services, routes and one ASGI application."""

from typing import NamedTuple, Self

from litestar import Litestar, Router
from litestar.config.app import AppConfig

from api.assets.completion import Completion
from api.assets.routes import assets_router
from api.assets.service import AssetReader
from api.description import description
from api.failures import answer
from api.health.routes import health_router
from api.health.service import Readiness
from api.idempotency import Once
from api.observed import Observed
from api.principals import Authenticator, guard
from api.storage.routes import storage_router
from api.storage.service import StorageService
from api.webhooks.routes import webhooks_router
from api.webhooks.service import WebhookService
from connectors.objectstore.port import ObjectStore
from connectors.postgres.database import Database
from connectors.secrets import SecretBox
from connectors.telemetry import Telemetry
from schemas.settings import ApiSettings, WebhookSettings

MAX_BODY_BYTES = 65_536
"""Largest request body: references only, never media."""


class Dependencies(NamedTuple):
    """What the application stands on; whoever made it closes it."""

    database: Database
    store: ObjectStore
    telemetry: Telemetry
    api: ApiSettings
    webhooks: WebhookSettings


class Application(NamedTuple):
    """The application to serve, and the Litestar inside it, which knows its routes and its description."""

    asgi: Observed
    litestar: Litestar

    @classmethod
    def build(cls, given: Dependencies) -> Self:
        """Wire everything; does no I/O."""
        inner = Litestar.from_config(_config(given))
        return cls(Observed(inner, given.telemetry.tracing, given.telemetry.metrics), inner)


def create_app(given: Dependencies) -> Observed:
    """The ASGI application."""
    return Application.build(given).asgi


def _config(given: Dependencies) -> AppConfig:
    database, store, settings = given.database, given.store, given.api
    given.telemetry.metrics.watch_pool(database.pool)
    storage = StorageService(database, store, max_upload_bytes=settings.max_upload_bytes)
    reader = AssetReader(database, store, variant_ttl_s=settings.variant_ttl_s)
    box = SecretBox(given.webhooks.encryption_key)
    webhooks = WebhookService(database, box, allow_private=given.webhooks.allow_private)
    once = Once(database, box)
    guarded = Router(
        "/",
        guards=[guard(Authenticator(database))],
        security=[{"apiKey": []}],
        route_handlers=[
            storage_router(storage, once),
            assets_router(reader, Completion(database, store), once),
            webhooks_router(webhooks, once),
        ],
    )
    return AppConfig(
        route_handlers=[guarded, health_router(Readiness(database, store), given.telemetry.metrics)],
        exception_handlers={Exception: answer},
        openapi_config=description(),
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
    )
