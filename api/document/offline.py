"""The OpenAPI document without a running API: the application is built on addresses that nobody dials."""

import json
from typing import Any

from prometheus_client import CollectorRegistry

from api.app import Application, Dependencies
from api.document.published import published
from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres.database import Database
from connectors.telemetry import Telemetry
from connectors.telemetry.metrics import Metrics
from connectors.telemetry.tracing import Tracing
from schemas.settings import (
    ApiSettings,
    DatabaseSettings,
    KafkaSettings,
    MediaSettings,
    ObjectStoreSettings,
    ProfileSettings,
    WebhookSettings,
)

FILE = "openapi.json"
_NOWHERE = "unused.invalid"


def unconnected() -> Dependencies:
    """What the whole application can be built on, with nothing behind it: for what it says of itself."""
    return Dependencies(
        database=Database(DatabaseSettings(url=f"postgresql://{_NOWHERE}/"), application="openapi"),
        store=S3ObjectStore(
            ObjectStoreSettings(
                endpoint=f"http://{_NOWHERE}",
                bucket="unused",
                access_key="unused",
                secret_key="unused",  # noqa: S106 - nothing is signed here
            )
        ),
        telemetry=Telemetry("openapi", Tracing("openapi"), Metrics(CollectorRegistry(), process="api")),
        api=ApiSettings(),
        webhooks=WebhookSettings(encryption_key=_KEY),
        media=MediaSettings(signing_key=_KEY),
        kafka=KafkaSettings(brokers=_NOWHERE),
        profiles=ProfileSettings(),
    )


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document, as `/schema/openapi.json` serves it."""
    app = Application.build(unconnected()).litestar
    return published(app, app.openapi_schema.to_schema())


def openapi_text() -> str:
    """The document as it is committed."""
    return json.dumps(openapi(), indent=2, ensure_ascii=False, default=str) + "\n"


_KEY = "A" * 43 + "="  # 32 zero bytes: nothing is sealed or signed here
