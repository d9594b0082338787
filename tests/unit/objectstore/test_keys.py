"""Whose keys sign: the settings' own, or those that boto3 finds, renewed by a thread that nobody waits for."""

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from botocore.credentials import DeferredRefreshableCredentials

from connectors.objectstore import keys
from connectors.objectstore.clients import boto_session
from connectors.objectstore.keys import KeyRing
from connectors.objectstore.signing import Keys
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import ObjectStoreSettings, SettingsError

BOUND_S = 60
STATIC = {"access_key": "AK", "secret_key": "s3cret"}


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """Boto3 finds nothing but what a test gives, and asks nobody."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def opened():
    rings = []

    def opened(session, **options):
        rings.append(KeyRing(session, **options))
        return rings[-1]

    yield opened
    for ring in rings:
        ring.close()


@pytest.fixture
def variables(monkeypatch):
    def variables(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"AWS_{name}", value)

    variables(ACCESS_KEY_ID="ASIA", SECRET_ACCESS_KEY="theirs", SESSION_TOKEN="token")
    return variables


def settings(**change):
    return boto_session(ObjectStoreSettings(endpoint="http://127.0.0.1:1", bucket="media", **change))


def test_keys_of_the_settings_go_before_what_boto3_finds(opened, variables):
    assert opened(settings(**STATIC)).current() == Keys("AK", "s3cret")


def test_without_them_it_is_what_boto3_finds(opened, variables):
    assert opened(settings()).current() == Keys("ASIA", "theirs", "token")


def test_keys_that_end_say_when(opened, variables):
    ends_at = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=8)
    variables(CREDENTIAL_EXPIRATION=ends_at.isoformat())
    assert opened(settings()).current(wait_s=BOUND_S) == Keys("ASIA", "theirs", "token", ends_at)


def test_where_there_are_none_it_does_not_start(opened, monkeypatch):
    with pytest.raises(SettingsError, match=r"^MEDIALANE_S3_ACCESS_KEY is not set, and boto3 finds no keys"):
        opened(settings())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "half")
    with pytest.raises(SettingsError, match=r"^MEDIALANE_S3_ACCESS_KEY is not set, and elsewhere: .*AWS_SECRET"):
        opened(settings())


class Role:
    """Hands out keys that end in so many seconds, numbered; slowly, or not at all, where it is told to."""

    def __init__(self, *lives_s):
        self.lives_s, self.asked = list(lives_s), 0
        self.answers = threading.Event()
        self.gone = threading.Event()

    def __call__(self):
        assert self.answers.wait(BOUND_S)
        if not self.lives_s:
            self.gone.set()
            raise OSError("the role's service is away")
        self.asked += 1
        ends_at = datetime.now(UTC) + timedelta(seconds=self.lives_s.pop(0))
        return {
            "access_key": f"AK{self.asked}", "secret_key": "s", "token": "t", "expiry_time": ends_at.isoformat(),
        }  # fmt: skip

    @property
    def session(self):
        return SimpleNamespace(get_credentials=lambda: DeferredRefreshableCredentials(self, "role"))


def away(ring):
    with pytest.raises(MedialaneError) as caught:
        ring.current()
    return caught.value.code is ErrorCode.OBJECT_STORE_UNAVAILABLE


def test_nobody_waits_for_a_roles_service_who_does_not_want_to(opened):
    role = Role(3600)
    ring = opened(role.session)
    assert away(ring)
    role.answers.set()
    assert ring.current(wait_s=BOUND_S).access_key == "AK1"


def test_keys_are_renewed_before_they_end_and_kept_until_then(opened, monkeypatch):
    monkeypatch.setattr(keys, "_LOOK_S", 0.01)
    role, now = Role(60, 60), [datetime.now(UTC)]
    role.answers.set()
    ring = opened(role.session, clock=lambda: now[0])
    assert role.gone.wait(BOUND_S)
    # The last ones are still good, though none come after them.
    held = ring.current()
    assert held.access_key == "AK2"
    now[0] = held.ends_at
    assert away(ring)
