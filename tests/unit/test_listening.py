"""What `webhooks listen` says of a request that is not ours: anybody who can reach the tunnel may send one."""

import pytest

from cli.harness.receiver import Received
from cli.listening import _line

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize("body", [b"", b"\xff", b"1", b"[]", b"{}", b'{"type": "\\u001b[2J"}'])
def test_a_strangers_request_is_refused_on_one_harmless_line(body):
    said = _line(Received(path="", headers={}, body=body, arrived=0.0, plan=""), SECRET)
    assert said.startswith("refused: ")
    assert said.isprintable()
