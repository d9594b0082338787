"""Who sends what is none of a few learns which these are, wherever the field stands."""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
import pytest
from litestar import Litestar, get, post
from litestar.params import JSONBody, QueryParameter
from litestar.testing import AsyncTestClient

from api.failures import answer

LITESTAR_TELLS = {Exception: answer}


class Fit(StrEnum):
    COVER = "cover"
    CONTAIN = "contain"


class Step(msgspec.Struct, rename="camel"):
    how_to_fit: Fit | None = None


class Body(msgspec.Struct):
    method: Annotated[Literal["PUT", "POST"], msgspec.Meta(description="How")] = "PUT"
    steps: list[Step] = []
    by_name: dict[str, Step] = {}
    fits: tuple[Fit, ...] = ()
    width: int = 1


@get("/")
async def read(in_state: Annotated[Fit | None, QueryParameter(name="state")] = None) -> None: ...


@post("/")
async def write(data: JSONBody[Body]) -> None: ...


async def told(**request):
    app = Litestar([read, write], exception_handlers=LITESTAR_TELLS)
    async with AsyncTestClient(app) as client:
        response = await client.request(url="/", **request)
    body = response.json()
    assert (response.status_code, body["code"]) == (400, "invalid_request")
    return body["message"], body["field"]


FITS = "'x' is none of these: cover, contain."


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"method": "x"}, "method", "'x' is none of these: POST, PUT."),
        ({"steps": [{}, {"howToFit": "x"}]}, "steps[1].howToFit", FITS),
        ({"by_name": {"a": {"howToFit": "x"}}}, "by_name[...].howToFit", FITS),
        ({"fits": ["cover", "x"]}, "fits[1]", FITS),
        ({"width": "x"}, "width", "Expected `int`, got `str`"),
    ],
    ids=["literal", "in a list", "in a mapping", "a list of them", "of any value"],
)
async def test_of_a_field_of_the_body(body, field, says):
    assert await told(method="POST", json=body) == (f"{field}: {says}", field)


async def test_of_a_parameter():
    assert await told(method="GET", params={"state": "x"}) == (f"state: {FITS}", "state")
