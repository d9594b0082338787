"""How the API's process begins: with all that it needs, or not at all."""

import msgspec
import pytest

from api import server
from schemas.settings import PROCESSES, SettingsError, variable

REQUIRED = [
    variable(group, field.name)
    for group in PROCESSES["api"]
    for field in msgspec.structs.fields(group)
    if field.required
]
"""As the table of settings has it."""


@pytest.mark.parametrize("missing", REQUIRED)
def test_what_is_required_and_not_set_is_named_and_nothing_begins(missing, monkeypatch):
    async def serve(*_given, **_about):
        pytest.fail("it began")

    monkeypatch.setattr(server, "serve", serve)
    env = dict.fromkeys(REQUIRED, "postgresql://127.0.0.1:1/x")
    with pytest.raises(SettingsError, match=missing):
        server.run({name: value for name, value in env.items() if name != missing})
