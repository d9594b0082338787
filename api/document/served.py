"""The API's OpenAPI description: what the routes say of themselves, and what concerns all of them."""

from typing import Any

from litestar import Response, Router
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import ScalarRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.status_codes import HTTP_404_NOT_FOUND

from api.document.published import PublishedPlugin

API_VERSION = "1.0.0"
"""Of the wire, not of the program: additive changes raise the middle number."""

_ABOUT = """\
Upload photos and videos, get variants. Three calls: presign, PUT the bytes to the signed address, complete.
Then watch the asset, or let a webhook tell you.

Errors have a stable `code`; a client that accepts `application/problem+json` gets them as RFC 9457 has it.
A POST, and complete by GET, may carry an `Idempotency-Key`: repeated, it is done once.

Every answer carries `traceparent` and `X-Trace-Id`; quote the latter when something goes wrong.
"""


def description() -> OpenAPIConfig:
    """What is served at `/schema` (a page) and `/schema/openapi.json`."""
    return OpenAPIConfig(
        title="Medialane",
        version=API_VERSION,
        description=_ABOUT,
        openapi_router=Router("/schema", route_handlers=[], include_in_schema=False, after_request=_found),
        render_plugins=[ScalarRenderPlugin(path="/"), PublishedPlugin(path="/openapi.json")],
        use_handler_docstrings=True,
        tags=[
            Tag(name="storage", description="Announce uploads"),
            Tag(name="uploads", description="Send large files in parts, as Uppy's S3 uploader does"),
            Tag(name="assets", description="Complete, follow and list assets"),
            Tag(name="media", description="Read variants: addresses that need no key"),
            Tag(name="webhooks", description="Be told what happens"),
            Tag(name="keys", description="Make, rotate and revoke API keys"),
            Tag(name="profiles", description="Choose what is made of uploads"),
            Tag(name="usage", description="See what was used"),
            Tag(name="health", description="For whoever runs the service"),
        ],
        components=Components(
            security_schemes={
                "apiKey": SecurityScheme(
                    type="http", scheme="bearer", bearer_format="mp_<prefix>_<secret>", description="An API key"
                )
            }
        ),
    )


def _found(response: Response[Any]) -> Response[Any]:
    """What Litestar itself answers beside these pages is a page of HTML: refused here, it is answered as elsewhere."""
    if response.status_code == HTTP_404_NOT_FOUND:
        raise NotFoundException
    return response
