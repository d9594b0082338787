"""What text must be to be an address, a file that can be read or a folder that can be written to: checked at the start,
where its variable is known.

Each check returns what is wrong with a value, None if nothing is; what it says must not repeat the value, which may
hold a password.
"""

import os
import re
import socket
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

# As SQLAlchemy takes an address apart: a password may hold what would end it elsewhere.
_POSTGRES = re.compile(
    r"postgresql(\+psycopg)?://([^:/]*(:[^@]*)?@)?(\[[^/?]+\]|[^/:?]+)?(:(?P<port>[^/?]*))?(/[^?]*)?(\?.*)?"
)
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")
_REGION = re.compile(r"(?![0-9]+$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,200}")
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s\[\]/:@]+)(:(?P<port>[^:]*))?")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_BUCKETS_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\]")


def postgres_url(value: str) -> str | None:
    """An address of Postgres as every process takes it."""
    found = _POSTGRES.fullmatch(value)
    return None if found and _is_port(found["port"]) else "write it as postgresql://user:password@host:port/name"


def http_url(value: str) -> str | None:
    """An address of a server to which paths can be added."""
    parts = _split(value)
    good = parts is not None and re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", value)
    return None if good else "write it as http(s)://host[:port][/path]"


def s3_url(value: str) -> str | None:
    """As `http_url`, of a host whose name S3 clients take."""
    parts = _split(value)
    if http_url(value) is not None or parts is None:
        return "write it as http(s)://host[:port]"
    host = parts.netloc.rpartition("@")[2].removesuffix(f":{parts.port}")
    return None if _BUCKETS_HOST.fullmatch(host) else "its host may have letters, digits, dots and hyphens only"


def bucket(value: str) -> str | None:
    """A bucket's name as S3 clients take it."""
    return None if _BUCKET.fullmatch(value) else "a bucket's name has letters, digits, '.', '-' and '_'"


def region(value: str) -> str | None:
    """A region's name as S3 clients take it."""
    return None if _REGION.fullmatch(value) else "a region's name has letters, digits and '-'"


def topic(value: str) -> str | None:
    """The first part of a topic's name."""
    return None if _TOPIC.fullmatch(value) else "a topic's name has letters, digits, '.', '_' and '-'"


def brokers(value: str) -> str | None:
    """host:port, comma separated."""
    found = [_BROKER.fullmatch(part.strip()) for part in value.split(",")]
    good = all(one is not None and _is_port(one["port"]) for one in found)
    return None if good else "write it as host:port, several comma separated"


def host(value: str) -> str | None:
    """A name or number that leads to an address to listen on."""
    try:
        socket.getaddrinfo(value, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return "there is no address by this name"
    return None


def pem_file(value: str) -> str | None:
    """A file of certificates or keys that this process can read."""
    try:
        content = Path(value).read_bytes()
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
    return None if b"-----BEGIN " in content else "there is nothing in PEM in the file"


def folder(value: str) -> str | None:
    """A folder that this process can write to, or make."""
    path = Path(value).absolute()
    try:
        there = next(parent for parent in (path, *path.parents) if parent.exists())
    except OSError as error:  # behind a folder that is closed to this process, for one
        return f"the folder cannot be looked at: {error.strerror}"
    if not there.is_dir():
        return f"{there} is no folder"
    return None if os.access(there, os.W_OK | os.X_OK) else f"nothing can be written to {there}"


def _split(value: str) -> SplitResult | None:
    """An address taken apart, None if it has no host or its port is none."""
    try:
        parts = urlsplit(value)
        good = parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        return None
    return parts if good else None


def _is_port(text: str | None) -> bool:
    return not text or (text.isascii() and text.isdigit() and 0 < int(text) < 65_536)
