"""Fills the placeholders of connector.json; the file itself is what operators read and review.

A snapshot has to read in order: in the table, rows of one asset lie as the connections that wrote them had room.
`ce_specversion` takes a detour there, through a field of the (otherwise unused) record key: InsertHeader would read the
literal 1.0 as a number and send 1.

Columns that became headers later are absent from rows that were written before: `error.on.missing` is off, or such a
row would fail the connector at every restart. `plain` takes the dead letters' headers off all other records.
"""

import json
import re
from collections.abc import Mapping
from importlib import resources
from urllib.parse import parse_qs, unquote, urlsplit

from schemas.settings import ConnectSettings

PUBLICATION = "medialane_outbox"  # made by the migrations
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_SLOT = re.compile(r"[a-z0-9_]{1,63}")
_TLS = ("sslrootcert", "sslcert", "sslkey", "sslpassword")  # Debezium's names are libpq's; files are Connect's own


def connector_config(
    settings: ConnectSettings, *, topic_prefix: str = "media", replication_factor: int = 1
) -> dict[str, str]:
    """The connector's configuration as Connect takes it (every value a string).

    `replication_factor` is for topics that the connector makes itself (its heartbeat). Raises `ValueError` when the
    replication role's address is missing or not a full Postgres address, or the slot's name is not one.
    """
    if not _SLOT.fullmatch(settings.slot):
        raise ValueError(
            f"MEDIALANE_CONNECT_SLOT={settings.slot!r} is not a slot name: use a-z, 0-9 and _ (at most 63)"
        )
    values = {
        **_database(settings.database_url),
        "slot": settings.slot,
        "publication": PUBLICATION,
        "topic_prefix": topic_prefix,
        "poll_interval_ms": str(settings.poll_interval_ms),
        "replication_factor": str(replication_factor),
    }
    template = json.loads((resources.files(__package__) / "connector.json").read_text(encoding="utf-8"))
    return {key: _fill(value, values) for key, value in template.items()} | _tls(settings.database_url or "")


def source(config: Mapping[str, str]) -> str:
    """What a connector of this configuration reads, in words: two of one name belong together if it is the same."""
    host, port, name = (config.get(f"database.{key}", "?") for key in ("hostname", "port", "dbname"))
    return f"{host}:{port}/{name} by slot {config.get('slot.name', '?')}"


def _database(url: str | None) -> dict[str, str]:
    if not url:
        raise ValueError(
            "MEDIALANE_CONNECT_DATABASE_URL is not set: the connector needs the replication role's address"
        )
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"} or not (parts.hostname and parts.username and parts.path[1:]):
        raise ValueError("MEDIALANE_CONNECT_DATABASE_URL must be postgresql://user:password@host:port/name")
    return {
        "database_host": parts.hostname,
        "database_port": str(parts.port or 5432),
        "database_user": unquote(parts.username),
        "database_password": unquote(parts.password or ""),
        "database_name": unquote(parts.path[1:]),
        "database_sslmode": parse_qs(parts.query).get("sslmode", ["prefer"])[0],
    }


def _tls(url: str) -> dict[str, str]:
    asked = parse_qs(urlsplit(url).query)
    return {f"database.{name}": asked[name][0] for name in _TLS if name in asked}


def _fill(template: str, values: Mapping[str, str]) -> str:
    # A function, not a string, as the replacement: a password may hold a backslash.
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)
