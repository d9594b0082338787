# noqa: INP001 - a script of the image, not a package
"""The image's health check: asks the process in this container whether it is ready. Standard library only.

The API answers on its own port, every other process on its metrics port; the container's variables say which.
"""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping

_ANSWER_S = 4.0


def address(env: Mapping[str, str]) -> str:
    """Where this container's process says whether it is ready. Raises `KeyError` when neither port is set."""
    port = env.get("MEDIALANE_TELEMETRY_METRICS_PORT") or env["MEDIALANE_API_PORT"]
    return f"http://127.0.0.1:{port}/readyz"


def problem(env: Mapping[str, str]) -> str | None:
    """Why the process is not ready, None if it is."""
    try:
        with urllib.request.urlopen(address(env), timeout=_ANSWER_S):  # noqa: S310 - always http, to itself
            return None
    except KeyError as missing:
        return f"not checked: {missing} is not set"
    except urllib.error.HTTPError as error:
        return f"not ready: {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return f"no answer: {error}"


if __name__ == "__main__":
    sys.exit(problem(os.environ))  # a string goes to stderr, where `docker inspect` shows it, with status 1
