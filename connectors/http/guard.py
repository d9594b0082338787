"""Which addresses outgoing HTTP may reach: none that are private, reserved or inside a cloud's own network.

`check_url` judges what a tenant writes down; `check_address` judges what is really dialled, after name resolution, and
is the one that protects: a name may resolve to something else at every attempt.
"""

import ipaddress
import re
from typing import NamedTuple

from yarl import URL

from schemas.errors import ErrorCode, MedialaneError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL_LENGTH = 2048


class AddressRefusedError(OSError):
    """The address that would be dialled is one that nothing is sent to, or fetched from."""

    def __init__(self, reason: str) -> None:
        # No errno and no address: the text is shown to the tenant, who must not learn our network from it.
        super().__init__(f"the receiver's address is refused: {reason}")
        self.reason = reason


class _Range(NamedTuple):
    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    reason: str
    private: bool  # development may permit it


def _range(network: str, reason: str, *, private: bool = False) -> _Range:
    return _Range(ipaddress.ip_network(network), reason, private)


# The IANA special-purpose registries, without what is globally reachable, and addresses that clouds use inside. The
# first that matches decides.
_REFUSED: tuple[_Range, ...] = (
    _range("0.0.0.0/8", "this network"),
    _range("10.0.0.0/8", "private", private=True),
    _range("100.64.0.0/10", "shared (carrier NAT)"),
    _range("127.0.0.0/8", "loopback", private=True),
    _range("168.63.129.16/32", "cloud metadata"),
    _range("169.254.0.0/16", "link-local or cloud metadata"),
    _range("172.16.0.0/12", "private", private=True),
    _range("192.0.0.0/24", "protocol assignments"),
    _range("192.0.2.0/24", "documentation"),
    _range("192.88.99.0/24", "6to4 relay"),
    _range("192.168.0.0/16", "private", private=True),
    _range("198.18.0.0/15", "benchmarking"),
    _range("198.51.100.0/24", "documentation"),
    _range("203.0.113.0/24", "documentation"),
    _range("224.0.0.0/4", "multicast"),
    _range("240.0.0.0/4", "reserved or broadcast"),
    _range("::1/128", "loopback", private=True),
    _range("fd00:ec2::/32", "cloud metadata"),
    _range("fd20:ce::/64", "cloud metadata"),
    _range("fc00::/7", "unique local", private=True),
    _range("fe80::/10", "link-local"),
    _range("ff00::/8", "multicast"),
    # These carry an IPv4 address inside, which a gateway would dial for us.
    _range("::ffff:0:0/96", "IPv4-mapped"),
    _range("64:ff9b::/96", "NAT64"),
    _range("64:ff9b:1::/48", "NAT64"),
    _range("2002::/16", "6to4"),
    _range("2001::/23", "protocol assignments (Teredo among them)"),
    _range("2001:db8::/32", "documentation"),
    _range("3fff::/20", "documentation"),
)
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")  # nothing outside of it is routed on the internet

_INSIDE_NAMES = re.compile(r"(^|\.)(localhost|localdomain|local|internal|intranet|lan|home\.arpa)\.?$")


def check_address(address: IPAddress, *, allow_private: bool = False) -> None:
    """Raise `AddressRefusedError` if `address` must not be dialled.

    `allow_private` permits loopback and private networks, for development; link-local, metadata, multicast and
    addresses that hide another one stay refused.
    """
    for network, reason, private in _REFUSED:
        if address.version == network.version and address in network:
            if private and allow_private:
                return
            raise AddressRefusedError(reason)
    if address.version == 6 and address not in _GLOBAL_V6:
        raise AddressRefusedError("not a global address")


def check_url(url: str, *, allow_private: bool = False) -> None:
    """Judge a webhook's address. Raises `MedialaneError(webhook_url_refused)` saying why `judge_url` refuses it."""
    why = judge_url(url, allow_private=allow_private)
    if why is not None:
        detail = f"Webhooks are not sent to this address: {why}."
        raise MedialaneError(ErrorCode.WEBHOOK_URL_REFUSED, detail, field="url")


def judge_url(url: str, *, allow_private: bool = False) -> str | None:
    """Why an address that a tenant wrote down is refused, None if it is not.

    Not http(s), no host, credentials, a fragment, white space, longer than 2048 characters, a literal address that is
    refused, or a name with a meaning only inside a network. Resolves no names: what they resolve to is judged when
    dialled.
    """
    if len(url) > MAX_URL_LENGTH:
        return f"it is longer than {MAX_URL_LENGTH} characters"
    if not url.isprintable() or " " in url or "\\" in url:
        return "it has white space, control characters or backslashes"
    try:
        parsed = URL(url)
        port = parsed.port
    except (ValueError, IndexError):  # yarl raises the latter for brackets around nothing
        return "it cannot be read as an address"
    return _judge_parts(parsed, port, allow_private=allow_private)


def _judge_parts(parsed: URL, port: int | None, *, allow_private: bool) -> str | None:
    if parsed.scheme not in {"http", "https"}:
        return "only http and https are possible"
    if not parsed.host or port is None or port == 0:
        return "it names no host or no port"
    if parsed.user is not None or parsed.password is not None:
        return "it holds credentials"
    if parsed.raw_fragment:
        return "it has a fragment, which is never sent"
    return _judge_host(parsed.host.lower(), allow_private=allow_private)


def _judge_host(host: str, *, allow_private: bool) -> str | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        address = None
    if address is not None:
        try:
            check_address(address, allow_private=allow_private)
        except AddressRefusedError as error:
            return f"its address is {error.reason}"
        return None
    if re.fullmatch(r"[0-9a-fx.]*\.?(0x[0-9a-f]*|[0-9]+)\.?", host):
        # 2130706433, 0x7f.1 and 127.1 are addresses to some resolvers and names to nobody.
        return "its host is a number that is no IPv4 address of four parts"
    inside = "." not in host.rstrip(".") or _INSIDE_NAMES.search(host) is not None
    if inside and not allow_private:
        return "its host is a name that only means something inside a network"
    return None
