"""The S3 server's Unix sockets in /tmp: their names are fixed in its program, and it leaves them when it ends."""

import contextlib
import socket
from collections.abc import Mapping
from pathlib import Path

from cli.stack.ports import GRPC_OFFSET

_FOLDER = Path("/tmp")  # noqa: S108 - not ours to choose
_SERVICES = {"s3": "s3", "s3-master": "master", "s3-volume": "volume", "s3-filer": "filer", "s3-admin": "admin"}


def grpc_sockets(ports: Mapping[str, int]) -> list[Path]:
    """Those of the server that has these ports."""
    return [
        _FOLDER / f"seaweedfs-{service}-grpc-{ports[name] + GRPC_OFFSET}.sock"
        for name, service in _SERVICES.items()
        if name in ports
    ]


def remove_dead(ports: Mapping[str, int]) -> None:
    """Remove those on which nobody listens any more; one that answers is another server's by now."""
    for path in grpc_sockets(ports):
        if not _answers(path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # busy, or not ours to ask
        return True
