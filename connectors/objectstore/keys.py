"""The keys that requests are signed with now: those of the settings, or those that boto3 finds, which may end.

Boto3 looks at variables, at profiles, and where clusters and machines hand out the keys of their roles. These are asked
for over the network, for which nobody may wait who signs in the event loop: a thread of their own does.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import boto3
import structlog
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError

from connectors.objectstore.signing import Keys
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import ObjectStoreSettings, SettingsError, variable

_log = structlog.get_logger(__name__)

_LOOK_S = 5.0  # botocore renews keys a quarter of an hour before their end


class KeyRing:
    """Holds the newest keys of a session. Close it when done."""

    def __init__(
        self, session: boto3.session.Session, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Raises `SettingsError` if there are none, nor anybody to ask."""
        self._found = _found(session)
        self._clock = clock
        self._held: Keys | None = None
        self._first = threading.Event()
        self._closed = threading.Event()
        if isinstance(self._found, RefreshableCredentials):
            threading.Thread(target=self._follow, args=(self._found,), name="s3-keys", daemon=True).start()
        else:
            self._hold(self._found, None)

    @property
    def awaited(self) -> bool:
        """Whether the first ones are still on their way."""
        return not self._first.is_set()

    def current(self, *, wait_s: float = 0) -> Keys:
        """The keys to sign with; for the first ones a thread may wait so long.

        Raises `MedialaneError(object_store_unavailable)` if none came yet, or the last ones ended.
        """
        self._first.wait(wait_s)
        held = self._held
        if held is None or (held.ends_at is not None and held.ends_at <= self._clock()):
            detail = "There are no keys for the object store at the moment."
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE, detail, retry_after_s=_LOOK_S)
        return held

    def close(self) -> None:
        """Renew them no more."""
        self._closed.set()

    def _follow(self, found: RefreshableCredentials) -> None:
        while not self._closed.is_set():
            try:
                found.get_frozen_credentials()  # renews them, if it is time
                # Their end first: if boto3's clients renew them in between, it is told too early, not too late.
                self._hold(found, found._expiry_time)  # type: ignore[attr-defined]  # noqa: SLF001 - told nowhere else
            except Exception as error:  # noqa: BLE001 - whatever those raise who hand them out
                _log.warning("keys of the object store are not renewed", error=str(error))
            self._closed.wait(_LOOK_S)

    def _hold(self, found: Credentials, ends_at: datetime | None) -> None:
        frozen = found.get_frozen_credentials()
        self._held = Keys(str(frozen.access_key), str(frozen.secret_key), frozen.token, ends_at)
        self._first.set()


def _found(session: boto3.session.Session) -> Credentials:
    said = variable(ObjectStoreSettings, "access_key")
    try:
        found = session.get_credentials()
    except BotoCoreError as error:
        raise SettingsError([f"{said} is not set, and elsewhere: {error}"]) from error
    if found is None:
        raise SettingsError([f"{said} is not set, and boto3 finds no keys elsewhere"])
    return found
