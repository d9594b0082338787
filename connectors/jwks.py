"""Public keys of a JWKS (RFC 7517), from a file or an address, kept for a while.

Only keys of the three algorithms that are taken, each bound to its one algorithm: what a token's header claims decides
nothing but which key is looked up.
"""

import asyncio
import time
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import msgspec
import structlog
import urllib3
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from schemas.errors import ErrorCode, MedialaneError

_log = structlog.get_logger(__name__)

_TIMEOUT_S = 5.0
_LARGEST = 262_144
_SMALLEST_RSA = 2048
_AGAIN_AFTER_S = 10.0
"""How often at most an unknown key makes us look again: whoever invents key ids must not load the issuer."""

_NEVER = float("-inf")
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}


class _Document(msgspec.Struct):
    keys: list[dict[str, Any]]


class PublicKey(NamedTuple):
    """A key and the only algorithm that it is good for."""

    key: Any
    algorithm: str


class KeySet:
    """The keys of one JWKS, by key id."""

    def __init__(self, source: str, *, ttl_s: float) -> None:
        self._source = source
        self._ttl_s = ttl_s
        self._keys: dict[str | None, PublicKey] = {}
        self._read_at = self._tried_at = _NEVER
        self._silent = False
        self._lock = asyncio.Lock()

    async def find(self, key_id: str | None) -> PublicKey | None:
        """The key of an id; without an id, the only key of a set of one. None: there is no such key.

        Raises `MedialaneError(service_unavailable)` while the set was never read and cannot be.
        """
        now = time.monotonic()
        missing = key_id not in self._keys and now - self._tried_at > _AGAIN_AFTER_S
        if missing or now - self._read_at > self._ttl_s:
            await self._refresh(now)
        if self._read_at == _NEVER:
            detail = "The tokens' issuer does not answer."
            raise MedialaneError(ErrorCode.SERVICE_UNAVAILABLE, detail, retry_after_s=_AGAIN_AFTER_S)
        return self._keys.get(key_id)

    async def _refresh(self, asked_at: float) -> None:
        if self._silent and self._lock.locked():
            return  # one request waits for an issuer that did not answer the last time: no others have to
        async with self._lock:
            if self._tried_at >= asked_at or time.monotonic() - self._tried_at < min(_AGAIN_AFTER_S, self._ttl_s):
                return  # another request has just looked
            self._tried_at = time.monotonic()
            try:
                self._keys = parse(await asyncio.to_thread(_read, self._source))
                self._read_at = time.monotonic()
                self._silent = False
            except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
                # Known keys stay good: an issuer's pause must not lock everybody out.
                _log.warning("JWKS unreadable", error=f"{type(error).__name__}: {error}")
                self._tried_at = time.monotonic()  # the next try is a pause after this one's end
                self._silent = True


def parse(document: bytes) -> dict[str | None, PublicKey]:
    """The usable keys of a JWKS document. Raises `ValueError` if it is none."""
    found: dict[str | None, PublicKey] = {}
    for entry in msgspec.json.decode(document, type=_Document).keys:
        key = _usable(entry)
        if key is not None:
            found[entry.get("kid")] = key
    if len(found) == 1:
        found[None] = next(iter(found.values()))
    return found


def _usable(entry: dict[str, Any]) -> PublicKey | None:
    algorithm = _ALGORITHMS.get((entry.get("kty", ""), entry.get("crv")))
    if algorithm is None or entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return None
    public = {name: value for name, value in entry.items() if name not in {"d", "p", "q", "dp", "dq", "qi"}}
    try:
        key = jwt.PyJWK(public, algorithm).key
    except jwt.PyJWTError:
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < _SMALLEST_RSA:
        return None
    return PublicKey(key, algorithm)


def _read(source: str) -> bytes:
    if not source.startswith(("http://", "https://")):
        return Path(source).read_bytes()
    timeout = urllib3.Timeout(connect=_TIMEOUT_S, read=_TIMEOUT_S)
    answer = urllib3.request("GET", source, timeout=timeout, redirect=False, retries=False, preload_content=False)
    with answer:
        if answer.status != 200:
            raise ValueError(f"the JWKS address answered {answer.status}")
        return answer.read(_LARGEST)
