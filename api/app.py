"""The composition root of the API: what a process is given becomes services, routes and one ASGI application."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, Self

from litestar import Litestar, Router
from litestar.config.app import AppConfig

from api.assets.completion import Completion
from api.assets.routes import assets_router
from api.assets.service import AssetReader
from api.assets.writing import AssetWriter
from api.deliveries.routes import deliveries_router
from api.deliveries.service import DeliveryService
from api.document.served import description
from api.failures import answer
from api.health.routes import health_router
from api.health.service import Readiness
from api.idempotency import Once
from api.keys.last_used import LastUsed
from api.keys.routes import keys_router
from api.keys.service import KeyService
from api.limits.admission import Admission
from api.limits.lists import Lists
from api.limits.quotas import Quotas
from api.limits.rates import RateLimiter, kept
from api.live.hub import Hub
from api.live.routes import live_router
from api.live.service import Live
from api.media.addresses import Addresses
from api.media.grants import GrantSigner
from api.media.routes import choice_router, media_router
from api.media.service import MediaReader
from api.middleware.body_timeout import Bodies
from api.middleware.cors import Browsers
from api.middleware.observability import Observed
from api.originals.routes import originals_router
from api.originals.service import OriginalReader
from api.own_address import OwnAddress
from api.principals import Authenticator, guard
from api.profiles.routes import profiles_router
from api.profiles.service import ProfileService
from api.pulls.routes import pulls_router
from api.pulls.service import PullService
from api.storage.routes import storage_router
from api.storage.service import StorageService
from api.tokens import TokenReader
from api.uploads.routes import uploads_router
from api.uploads.service import MultipartService
from api.usage.routes import usage_router
from api.usage.service import UsageReader
from api.webhooks.routes import webhooks_router
from api.webhooks.service import WebhookService
from connectors.objectstore.port import ObjectStore
from connectors.postgres.database import Database
from connectors.secrets import SecretBox
from connectors.telemetry import Telemetry
from schemas.profile_sets import default_choice
from schemas.settings import (
    ApiSettings,
    AuthSettings,
    KafkaSettings,
    MediaSettings,
    ProfileSettings,
    PullSettings,
    WebhookSettings,
)

MAX_BODY_BYTES = 65_536
"""Largest request body: references only, never media."""


class Dependencies(NamedTuple):
    """What the application stands on; whoever made it closes it."""

    database: Database
    store: ObjectStore
    telemetry: Telemetry
    api: ApiSettings
    webhooks: WebhookSettings
    media: MediaSettings
    kafka: KafkaSettings
    auth: AuthSettings = AuthSettings()
    profiles: ProfileSettings = ProfileSettings()
    pulls: PullSettings = PullSettings()


class Application(NamedTuple):
    """The application to serve, and the Litestar inside it, which knows its routes and its description.

    `hub` takes what Kafka tells, and is closed when the process is about to end.
    """

    asgi: Observed
    litestar: Litestar
    hub: Hub

    @classmethod
    def build(cls, given: Dependencies) -> Self:
        """Wire everything; does no I/O."""
        hub = Hub()
        inner = Litestar.from_config(_config(given, hub))
        asgi = Browsers(Bodies(inner), given.database)
        return cls(Observed(asgi, given.telemetry.tracing, given.telemetry.metrics), inner, hub)


def _config(given: Dependencies, hub: Hub) -> AppConfig:
    database, store, settings = given.database, given.store, given.api
    given.telemetry.metrics.watch_database(database)
    quotas, limiter, last_used = Quotas(database), RateLimiter(database), LastUsed(database)
    profiles = ProfileService(database, default=default_choice(given.profiles))
    admission = Admission(quotas, profiles)
    storage = StorageService(database, store, admission, max_upload_bytes=settings.max_upload_bytes)
    completion, live = Completion(database, store), Live(database, hub)
    multipart = MultipartService(
        database, store, admission, completion, limiter, max_upload_bytes=settings.max_upload_bytes
    )
    pulls = PullService(database, store, admission, given.pulls, max_upload_bytes=settings.max_upload_bytes)
    signer, own_address = GrantSigner.of(given.media), OwnAddress(settings.public_endpoint)
    addresses, media = Addresses(signer, ttl_s=settings.variant_ttl_s), MediaReader(database, store, signer)
    lists = Lists(database, at_once=max(1, database.pool.size() // 4))
    reader = AssetReader(database, addresses, lists)
    box = SecretBox.of(given.webhooks)
    webhooks = WebhookService(database, box, allow_private=given.webhooks.allow_private)
    once = Once(database, box)
    authenticator = Authenticator(database, TokenReader.of(given.auth))
    guarded = Router(
        "/",
        guards=[guard(authenticator, limiter, last_used)],
        security=[{"apiKey": []}],
        route_handlers=[
            storage_router(storage, once),
            assets_router(reader, AssetWriter(database), completion, storage, live, once, own_address, limiter),
            choice_router(media, addresses, own_address),
            originals_router(OriginalReader(database, store)),
            live_router(live, authenticator),
            pulls_router(pulls, once),
            uploads_router(multipart, once),
            webhooks_router(webhooks, once),
            deliveries_router(DeliveryService(database, lists), once),
            keys_router(KeyService(database), once),
            profiles_router(profiles),
            usage_router(UsageReader(given.kafka)),
        ],
    )
    return AppConfig(
        route_handlers=[
            guarded,
            media_router(media),
            health_router(Readiness(database, store), given.telemetry.metrics),
        ],
        exception_handlers={Exception: answer},
        openapi_config=description(),
        request_max_body_size=MAX_BODY_BYTES,
        lifespan=[_background(last_used, limiter, quotas, pulls, once)],
        logging_config=None,
    )


def _background(
    last_used: LastUsed, limiter: RateLimiter, quotas: Quotas, pulls: PullService, once: Once
) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    """What goes on beside the requests, and what is put in order after the last one."""

    @asynccontextmanager
    async def running(_app: Litestar) -> AsyncIterator[None]:
        async with kept(limiter, quotas):
            async with last_used.running():
                yield
            await once.close()
            pulls.close()

    return running
