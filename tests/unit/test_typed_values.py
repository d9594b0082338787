"""What is typed and makes no sense is refused before anything is asked, by name and with exit code 2."""

import pytest
from click.testing import CliRunner

from cli.main import medialane
from connectors.postgres.accounts.plans import Plan, put_plan
from schemas.errors import ErrorCode, MedialaneError

ASSETS = ["assets", "ls", "--key", "mp_a_b"]
DIGITS = "9" * 20


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        (["dlq", "ls", "--since", "99999999999d"], "--since"),
        (["dlq", "ls", "--limit", DIGITS], "--limit"),
        (["audit", "ls", "--limit", DIGITS], "--limit"),
        (["webhooks", "ls", "--limit", DIGITS], "--limit"),
        (["keys", "ls", "acme", "--limit", DIGITS], "--limit"),
        (["keys", "mint", "acme", "--days", "nan"], "--days"),
        (["keys", "mint", "acme", "--days", "1e308"], "--days"),
        (["keys", "rotate", "abc", "--days", "inf"], "--days"),
        (["keys", "rotate", "abc", "--overlap-hours", "inf"], "--overlap-hours"),
        (["uploads", "sweep", "--older-than-hours", "nan"], "--older-than-hours"),
        (["uploads", "sweep", "--older-than-hours", "1e308"], "--older-than-hours"),
        (["dlq", "replay", "--tenant", "acme", "--rate", "nan"], "--rate"),
        (["tenants", "share", "acme", "--weight", "nan"], "--weight"),
        (["tenants", "share", "acme", "--cap", DIGITS], "--cap"),
        (["partitions", "plan", "--window", "99999999999d"], "--window"),
        (["partitions", "plan", "--window", DIGITS * 20 + "d"], "--window"),
        (["partitions", "plan", "--tolerance", "nan"], "--tolerance"),
        (["partitions", "simulate", "--workers", DIGITS], "--workers"),
        (["plans", "set", "gold", "--assets", DIGITS], "--assets"),
        (["plans", "set", "gold", "--uploads", "2147483648"], "--uploads"),
        ([*ASSETS, "--url", "127.0.0.1:8080"], "--url"),
        ([*ASSETS, "--url", "http://127.0.0.1:99999"], "--url"),
        (["assets", "ls", "--key", "mp_a\nb"], "--key"),
        (["assets", "ls", "--key", "mp_\x1b[31m"], "--key"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(typed, named):
    ended = CliRunner().invoke(medialane, typed)
    assert ended.exit_code == 2, ended.exception
    assert f"Invalid value for '{named}'" in ended.output


@pytest.mark.parametrize("around", ["{}\r\n", " {}", "{}\t"])
def test_what_stands_around_a_key_is_not_of_it(around):
    typed = ["assets", "ls", "--key", around.format("mp_a_b"), "--url", "http://127.0.0.1:1"]
    ended = CliRunner().invoke(medialane, typed)
    assert ended.exit_code == 1
    assert "got no answer" in ended.output


@pytest.mark.parametrize("name", ["", " ", "Gold", "-gold", "g" * 64, "gold\n", "m\u00e9dia"])
async def test_what_is_no_name_of_a_plan_is_refused(name):
    with pytest.raises(MedialaneError) as caught:
        await put_plan(None, Plan(name=name))
    assert (caught.value.code, caught.value.field) == (ErrorCode.INVALID_REQUEST, "name")


def test_a_topics_file_that_is_no_text_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIALANE_KAFKA_BROKERS", "127.0.0.1:1")
    (tmp_path / "topics.toml").write_bytes(b"\x80")
    ended = CliRunner().invoke(medialane, ["topics", "plan", "--file", str(tmp_path / "topics.toml")])
    assert str(ended.exception) == f"{tmp_path}/topics.toml: this is no text in UTF-8"
