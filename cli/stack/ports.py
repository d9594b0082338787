"""Free ports, and who holds one that is not."""

import contextlib
import random
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from cli.stack.errors import StackError
from cli.stack.names import BROKERS
from cli.stack.processes import command_of

# Below the kernel's range for outgoing connections (32768 up), so that none of those takes one between two starts;
# the upper bound leaves room for the S3 server, whose gRPC ports are 10000 above its others.
_RANGE = (11_000, 22_000)
GRPC_OFFSET = 10_000
_LAST = 65_535

NAMES = (
    "postgres", "kafka", "kafka-controller", "connect", "s3", "s3-master", "s3-volume", "s3-filer", "s3-admin",
    "api", "media-images", "media-video", "webhooks", "usage", "keeper",
)  # fmt: skip
# Only there when asked for. A door is where clients find the broker if that is not the broker's own port: a proxy that
# somebody else runs, in front of a listener of the broker's own ("kafka-behind").
DOOR, BEHIND = "kafka-door", "kafka-behind"
_OPTIONAL = (DOOR, BEHIND)
_WITH_GRPC = frozenset({"s3", "s3-master", "s3-volume", "s3-filer", "s3-admin"})


class Claims:
    """Ports that this process has spoken for, from their choice on: seconds pass until a server listens there.

    Each is the name of an abstract Unix socket, which the kernel lets go of when the process ends, however it does.
    """

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}

    def take(self, port: int) -> bool:
        """Speak for a port; False if another process has."""
        if port not in self._held:
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                claim.bind(f"\0medialane-port-{port}")
            except OSError:
                claim.close()
                return False
            self._held[port] = claim
        return True


def broker_names(ports: Mapping[str, int]) -> list[str]:
    """The brokers that a stack with these ports has."""
    return [name for name in BROKERS if name in ports]


def controller_of(broker: str) -> str:
    """The name of a broker's controller port."""
    return broker.replace("kafka", "kafka-controller", 1)


def broker_door(ports: Mapping[str, int], broker: str) -> int:
    """The port at which clients find a broker."""
    return ports.get(DOOR, ports[broker]) if broker == BROKERS[0] else ports[broker]


def assign(
    remembered: Mapping[str, int], pinned: Mapping[str, int], claims: Claims, *, brokers: int | None = None,
    purge: str = "medialane stack down --purge",
    pick: Callable[[], int] = lambda: random.randrange(*_RANGE),  # noqa: S311 - not a secret
) -> dict[str, int]:  # fmt: skip
    """A free port for every name: the pinned one, else the one it had, else a new one.

    No other process that asks for some gets the same ones, for as long as `claims` lives. `brokers` is how many there
    shall be (None: as before, or one), `purge` the command that deletes what the stack has. Raises `StackError` for a
    pinned port that is taken, an unknown name, or another number of brokers.
    """
    more = _further_brokers(remembered, brokers, purge)
    names = (*NAMES, *more, *(controller_of(name) for name in more))
    unknown = set(pinned) - {*names, *_OPTIONAL}
    if unknown:
        raise StackError(f"there is no part {', '.join(sorted(unknown))}", f"Parts with ports: {', '.join(names)}")
    ports: dict[str, int] = {name: pinned[name] for name in _OPTIONAL if name in pinned}
    # What is pinned is nobody else's, wherever its name stands in the order.
    chosen = {port for name in pinned for port in _with(pinned[name], _extra(name))}
    for name in names:
        extra = _extra(name)
        if name in pinned:
            if pinned[name] + max(extra, default=0) > _LAST:
                raise StackError(
                    f"port {pinned[name]} for {name} is too high: it needs the port {GRPC_OFFSET} above, too",
                    f"Choose one up to {_LAST - GRPC_OFFSET}",
                )
            for port in _with(pinned[name], extra):
                require_free(name, port)
                claims.take(port)
            ports[name] = pinned[name]
        else:
            candidates = chain([remembered[name]] if name in remembered else [], iter(pick, None))
            ports[name] = next(port for port in candidates if _usable(_with(port, extra), chosen, claims))
        chosen.update(_with(ports[name], extra))
    return ports


def _further_brokers(remembered: Mapping[str, int], brokers: int | None, purge: str) -> tuple[str, ...]:
    before = len(broker_names(remembered))
    wanted = brokers or before or 1
    if before and wanted != before:
        raise StackError(
            f"this stack was made with {before} broker(s), not {wanted}",
            f"Use another folder with --dir, or delete its data: {purge}",
        )
    return BROKERS[1:wanted]


def require_free(name: str, port: int) -> None:
    """Raise `StackError` naming who holds the port, if it is taken."""
    if is_free(port):
        return
    holder = holder_of(port)
    by = f" by process {holder} ({command_of(holder)})" if holder else ""
    raise StackError(
        f"port {port} for {name} is taken{by}", f"Stop it, or choose another with --port {name}=NUMBER"
    )  # fmt: skip


def is_free(port: int) -> bool:
    """Whether a server could listen there on loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def holder_of(port: int) -> int | None:
    """The process that listens on a port, None if it cannot be seen (another user's, or nobody)."""
    inodes = {f"socket:[{inode}]" for inode in _listeners(port)}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and inodes:
            with contextlib.suppress(OSError):
                if any(str(link.readlink()) in inodes for link in (entry / "fd").iterdir()):
                    return int(entry.name)
    return None


def _listeners(port: int) -> list[str]:
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    found.append(fields[9])
    return found


def _extra(name: str) -> tuple[int, ...]:
    return (GRPC_OFFSET,) if name in _WITH_GRPC else ()


def _with(port: int, offsets: Iterable[int]) -> tuple[int, ...]:
    return (port, *(port + offset for offset in offsets))


def _usable(wanted: Sequence[int], chosen: set[int], claims: Claims) -> bool:
    return all(port not in chosen and is_free(port) for port in wanted) and all(map(claims.take, wanted))
