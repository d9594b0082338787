"""What a stack remembers between commands: addresses, processes, secrets. One JSON file, readable by its owner only."""

import os
import secrets
from base64 import b64encode
from pathlib import Path

import msgspec

from cli.stack.errors import StackError


class ProcessId(msgspec.Struct, frozen=True, kw_only=True):
    """A process that cannot be mistaken for another: its pid and its start time in clock ticks since boot."""

    pid: int
    started: int


class PartState(msgspec.Struct, frozen=True, kw_only=True):
    """A part as last seen by the supervisor. `process` is None when it is not running."""

    address: str
    process: ProcessId | None = None
    started_at: float | None = None  # Unix seconds
    exit_code: int | None = None  # of the last run, negative for a signal


def _fresh_key() -> str:
    return b64encode(secrets.token_bytes(32)).decode()


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """Random per stack. They live as long as the stack's data, which they were written into."""

    postgres_password: str
    app_password: str
    worker_password: str
    replication_password: str
    s3_access_key: str
    s3_secret_key: str
    webhook_encryption_key: str
    # A stack of a release without it gets one with its next start.
    media_signing_key: str = msgspec.field(default_factory=_fresh_key)

    @classmethod
    def generate(cls) -> "Secrets":
        """Fresh secrets; URL-safe, so that they need no quoting in an address or a shell."""
        return cls(
            postgres_password=secrets.token_urlsafe(24),
            app_password=secrets.token_urlsafe(24),
            worker_password=secrets.token_urlsafe(24),
            replication_password=secrets.token_urlsafe(24),
            s3_access_key=secrets.token_hex(10),
            s3_secret_key=secrets.token_urlsafe(30),
            webhook_encryption_key=_fresh_key(),
        )


class StackState(msgspec.Struct, frozen=True, kw_only=True):
    """The state file."""

    secrets: Secrets
    ports: dict[str, int]
    boot: str = ""  # the machine's boot id: processes of another boot are gone, whatever their numbers
    supervisor: ProcessId | None = None
    parts: dict[str, PartState] = {}
    ready: bool = False


def load(path: Path) -> StackState | None:
    """The state, None if there is none. Raises `StackError` if the file is not ours to read or is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=StackState)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise StackError(f"{path} belongs to somebody else", "Use another folder with --dir, or that user") from error
    except msgspec.MsgspecError as error:
        raise StackError(f"{path} is damaged ({error})", "Delete that stack's folder to start afresh") from error


def save(path: Path, state: StackState) -> None:
    """Replace the state file in one step, with mode 0600."""
    write_private(path, msgspec.json.format(msgspec.json.encode(state), indent=2))


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step; only its owner can ever read it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)


def boot_id() -> str:
    """The id of this boot of the machine; empty where /proc does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
