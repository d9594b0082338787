"""Every refusal has both shapes, the reference system's and RFC 9457's, whoever answers it: a handler, a guard, a route
that is not there.
"""

from typing import Annotated

import msgspec
import pytest
from litestar import Litestar, get, post
from litestar.exceptions import TooManyRequestsException
from litestar.params import HeaderParameter, JSONBody, QueryParameter
from litestar.testing import AsyncTestClient

from api.app import Application
from api.document.offline import unconnected
from api.failures import PUBLIC_NAMES, answer
from api.fields import SHA256
from schemas.errors import ERRORS, ErrorCode, MedialaneError

PROBLEM, JSON = "application/problem+json", "application/json"


async def ask(app, method, path, accept):
    async with AsyncTestClient(app, raise_server_exceptions=False) as client:
        return await client.request(method, path, headers={"Accept": accept})


def check(response, accept, status, code, path):
    body = response.json()
    assert (response.status_code, response.headers["Content-Type"], body["code"]) == (status, accept, code)
    if accept == JSON:
        assert (body["status"], body["message"] != "") == ("error", True)
        return
    assert (body["status"], body["instance"], body["detail"] != "") == (status, path, True)
    assert (body["type"], body["title"]) == (f"urn:medialane:error:{code}", ERRORS[ErrorCode(code)].meaning)


@pytest.mark.parametrize("accept", [JSON, PROBLEM])
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/schema/nope", 404, "not_found"),
        ("GET", "/schema/nope.json", 404, "not_found"),
        ("GET", "/schema/nope/at/all", 404, "not_found"),
        ("DELETE", "/api/v1/storage/presign", 405, "invalid_request"),
        ("GET", "/api/v1/assets", 401, "unauthenticated"),
        ("GET", "/media/no-token/a.webp", 403, "address_invalid"),
    ],
)
async def test_what_the_application_refuses_has_both_shapes(accept, method, path, status, code):
    check(await ask(Application.build(unconnected()).litestar, method, path, accept), accept, status, code, path)


async def test_a_parameter_has_the_name_that_callers_know_it_by():
    """Litestar names Python's: every one that differs is in the map."""
    routes = Application.build(unconnected()).litestar.routes
    handlers = {handler for route in routes for handler in getattr(route, "route_handlers", ())}
    named = {
        python: meta.name
        for handler in handlers
        for python, parameter in handler.parsed_fn_signature.parameters.items()
        if isinstance(meta := parameter.kwarg_definition, QueryParameter | HeaderParameter) and meta.name
    }
    differing = {python: public for python, public in named.items() if python != public}
    assert differing
    assert differing.items() <= PUBLIC_NAMES.items()


class Inner(msgspec.Struct):
    a: Annotated[str, msgspec.Meta(pattern=SHA256)]


class Outer(msgspec.Struct):
    many: list[Inner]


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "says"),
    [
        ("POST", "/x", b'{"many": [{}]}', "many[0].a", "many[0].a: Object missing required field `a`"),
        ("POST", "/x", b"{}", "many", "many: Object missing required field `many`"),
        ("POST", "/x", b'{"many": [{"a": "X"}]}', "many[0].a",
         "many[0].a: Expected `str` of 64 hexadecimal digits, in lower case"),
        ("POST", "/x", b'{"many": "\xe9"}', None, "The request's body is not UTF-8, as JSON has to be."),
        ("GET", "/y", b"", "partNumbers", "partNumbers: This query parameter is required"),
    ],
)  # fmt: skip
async def test_what_is_malformed_is_named_where_it_is(method, path, body, field, says):
    @post("/x")
    async def outer(data: JSONBody[Outer]) -> None: ...

    @get("/y")
    async def numbers(part_numbers: Annotated[str, QueryParameter(name="partNumbers")]) -> None: ...

    app = Litestar([outer, numbers], exception_handlers={Exception: answer})
    async with AsyncTestClient(app, raise_server_exceptions=False) as client:
        response = await client.request(method, path, content=body)
    assert (response.status_code, response.json().get("field"), response.json()["message"]) == (400, field, says)


@pytest.mark.parametrize("path", ["/schema", "/schema/openapi.json"])
async def test_the_description_is_served(path):
    assert (await ask(Application.build(unconnected()).litestar, "GET", path, "*/*")).status_code == 200


@pytest.mark.parametrize("accept", [JSON, PROBLEM])
@pytest.mark.parametrize(
    ("error", "status", "code", "headers"),
    [
        (MedialaneError(ErrorCode.REQUEST_TIMEOUT), 408, "request_timeout", {"Connection": "close"}),
        (MedialaneError(ErrorCode.RATE_LIMITED, retry_after_s=2.5), 429, "rate_limited", {"Retry-After": "3"}),
        (MedialaneError(ErrorCode.DATABASE_UNAVAILABLE, "psycopg: host db-7"), 503, "database_unavailable",
         {"Retry-After": "1"}),
        (RuntimeError("a defect"), 500, "internal", {}),
        (TooManyRequestsException(), 429, "invalid_request", {}),
    ],
)  # fmt: skip
async def test_what_a_handler_raises_has_both_shapes(accept, error, status, code, headers):
    @get("/x")
    async def handler() -> None:
        raise error

    response = await ask(Litestar([handler], exception_handlers={Exception: answer}), "GET", "/x", accept)
    check(response, accept, status, code, "/x")
    assert {name: response.headers.get(name) for name in headers} == headers
    assert "db-7" not in response.text
    assert "defect" not in response.text
