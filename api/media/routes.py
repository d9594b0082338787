"""Routes of `/media`, whose addresses are their own permission, and of a variant by its name."""

from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import HttpMethod, Request, Response, Router, get, route
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, PathParameter

from api.assets.models import VariantOut, variant_out
from api.attachments import Download, is_wanted
from api.envelope import Success
from api.failures import documented
from api.headers import add_headers
from api.media.addresses import Addresses, Place
from api.media.ranges import is_known, span_of
from api.media.service import Found, MediaReader
from api.own_address import MEDIA_PREFIX, OwnAddress
from api.principals import SCOPE_OPT, TenantRequest, tenant_of
from schemas.errors import ErrorCode, MedialaneError
from schemas.patterns import whole
from schemas.scopes import Scope

_CACHED_S = 3600
_CHOICE_CACHED_S = 60  # a better format may come in a later stage
_PLAYLIST = "application/vnd.apple.mpegurl"

AnyRequest = Request[Any, Any, State]
Token = Annotated[str, PathParameter(description="What the address permits, signed")]
Name = Annotated[
    str,
    PathParameter(
        pattern=whole("[a-z][a-z0-9_]{0,63}", "a-z, 0-9 and '_', a letter first, 64 at most"),
        description="A picture, or a profile by its own name",
    ),
]
FileName = Annotated[str, PathParameter(description="A file of the variant, or the picture's name")]


def media_router(media: MediaReader) -> Router:
    """The routes that need no key."""

    @get(
        "/{token:str}/{file_name:str}",
        operation_id="readMedia",
        summary="The bytes of a variant, by a signed address",
        description="Addresses come with an asset. Playlists and WebVTT are answered; what they name is at the same "
        "address but for the last part; all else is sent by the object store, where the redirect leads. A picture's "
        "address answers in the best format that `Accept` allows. With `download`, as a file to be saved, which is "
        "named after the asset's.",
        media_type=_PLAYLIST,
        responses=documented(400, 403, 404, 406, 416) | _ANSWERS,
    )
    async def read(
        request: AnyRequest, token: FromPath[Token], file_name: FromPath[FileName], download: Download = None
    ) -> Response[bytes]:
        return await _answer(media, request, token, file_name, download)

    @route("/{token:str}/{file_name:str}", http_method=HttpMethod.HEAD, include_in_schema=False)
    async def head(
        request: AnyRequest, token: FromPath[str], file_name: FromPath[str], download: Download = None
    ) -> Response[bytes]:
        return await _answer(media, request, token, file_name, download)

    return Router(MEDIA_PREFIX, route_handlers=[read, head], tags=["media"])


def choice_router(media: MediaReader, addresses: Addresses, own_address: OwnAddress) -> Router:
    """The route that needs a key, and leads to an address that does not."""
    return Router("/api/v1/assets", route_handlers=[_choice(media, addresses, own_address)], tags=["assets"])


def _choice(media: MediaReader, addresses: Addresses, own_address: OwnAddress) -> HTTPRouteHandler:
    @get(
        "/{asset_id:uuid}/variants/{name:str}",
        status_code=307,
        opt={SCOPE_OPT: Scope.ASSETS_READ},
        operation_id="chooseVariant",
        summary="One variant, in the format that `Accept` allows",
        description="Of a picture that is there in several formats, such as `display_large`, the best one; of a "
        "profile's own name, such as `display_large_jpeg` or `hls`, that variant. Redirects to its signed address.",
        responses=documented(400, 401, 403, 404, 406, 429),
    )
    async def choose(
        request: TenantRequest, asset_id: FromPath[UUID], name: FromPath[Name]
    ) -> Response[Success[VariantOut]]:
        add_headers(request.scope, [(b"vary", b"Accept")])
        tenant_id = tenant_of(request)
        variant = (await media.choose(tenant_id, asset_id, name, request.headers.get("accept", ""))).public()
        address = addresses.of_variant(Place(own_address.of(request), tenant_id, asset_id), variant)
        shown = variant_out(variant, address.url, address.expires_at)
        return Response(Success(data=shown), status_code=307, headers={"Location": shown.url})

    return choose


async def _answer(
    media: MediaReader, request: AnyRequest, token: str, name: str, download: str | None
) -> Response[bytes]:
    found = await media.find(token, name, request.headers.get("accept", ""), download=is_wanted(download))
    if found.chosen:
        add_headers(request.scope, [(b"vary", b"Accept")])
    if found.file.names_others:
        return await _direct(media, request, found, {"Cache-Control": _caching(found, found.left_s), **found.headers})
    method: Literal["GET", "HEAD"] = "HEAD" if request.method == HttpMethod.HEAD else "GET"
    target = media.elsewhere(found, method)
    # No longer than the store answers there: keys of a role end sooner than what they sign says.
    headers = {"Location": target.url, "Cache-Control": _caching(found, min(found.left_s, target.left_s()))}
    return Response(b"", status_code=307, headers=headers)


async def _direct(media: MediaReader, request: AnyRequest, found: Found, headers: dict[str, str]) -> Response[bytes]:
    file, etag = found.file, f'"{found.file.sha256}"'
    headers |= {"ETag": etag, "Accept-Ranges": "bytes"}
    if is_known(request.headers, etag):
        return Response(b"", status_code=304, headers=headers)
    content = await media.content(found)
    try:
        # A range of nothing but a head would have no meaning (RFC 9110, 14.2).
        span = span_of(request.headers, len(content), etag) if request.method == HttpMethod.GET else None
    except ValueError:
        add_headers(request.scope, [(b"content-range", f"bytes */{len(content)}".encode())])
        raise MedialaneError(ErrorCode.RANGE_NOT_SATISFIABLE) from None
    if span is None:
        return Response(content, media_type=file.content_type, headers=headers)
    headers["Content-Range"] = f"bytes {span.first}-{span.last}/{len(content)}"
    part = content[span.first : span.last + 1]
    return Response(part, status_code=206, media_type=file.content_type, headers=headers)


def _caching(found: Found, left_s: int) -> str:
    """For everybody's caches: whoever has the address may read, and what is behind it never becomes something else."""
    most = _CHOICE_CACHED_S if found.chosen else _CACHED_S
    return f"public, max-age={min(left_s, most)}"


_ANSWERS = {
    200: ResponseSpec(str, description="A playlist, or WebVTT", media_type=_PLAYLIST, generate_examples=False),
    206: ResponseSpec(str, description="The range that was asked for", media_type=_PLAYLIST, generate_examples=False),
    304: ResponseSpec(None, description="It is still what `If-None-Match` names", generate_examples=False),
    307: ResponseSpec(None, description="Where the bytes are, for as long as this address is good"),
}
