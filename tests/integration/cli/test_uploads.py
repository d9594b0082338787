"""`medialane uploads sweep` and `medialane upload`: as a user runs them, on a real database, store and API."""

import json
import os
import subprocess
import sys

import pytest
from support import api
from support.commands import medialane
from support.objects import client_of

from cli.client import MedialaneClient, PartsUpload, UnreachableError
from cli.upload import _note
from connectors.objectstore.s3 import S3ObjectStore
from schemas.ids import uuid7
from streams.bucket import MARK


@pytest.fixture
async def caller(server, operator, session):
    tenant = await operator.tenant()
    return api.Caller(server.address, tenant.id, (await operator.key(tenant.id)).text, session)


@pytest.fixture
def operators_env(database, bucket):
    return api.environment(database, bucket) | {"MEDIALANE_DATABASE_URL": database.worker}


def run_sweep(env, *arguments):
    # Objects of this test are seconds old: the age that is allowed at least is for people, not for us.
    code = (
        "import sys, click, cli.uploads as u; from cli.main import main; u._LEAST_HOURS = 0; "
        f"u.sweep.params[0].type = click.FLOAT; sys.argv[1:] = {['uploads', *arguments]!r}; main()"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, timeout=240, check=False
    )


def sweep(env, *arguments):
    done = run_sweep(env, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def keys_in(bucket):
    return {item["Key"] for item in client_of(bucket).list_objects_v2(Bucket=bucket.bucket).get("Contents", ())}


async def test_a_sweep_says_first_and_removes_then(caller, operator, operators_env, bucket):
    abandoned, kept = await caller.presign(), await caller.presign()
    await caller.put(abandoned)
    await caller.put(kept)
    made = (
        await caller.call(
            "POST", "/api/v1/uploads/s3/multipart", {"filename": "a.jpg", "type": "image/jpeg", "size": 9}
        )
    )[1]
    old = "UPDATE assets SET upload_expires_at = now() - interval '2 days' WHERE id = ANY(:ids) RETURNING id"
    await operator.rows(old, ids=[abandoned["assetId"], made["uploadId"]])
    completed = await caller.upload()
    assert (await caller.call("POST", f"/api/v1/assets/{completed}/complete"))[0] == 200
    await operator.rows(old, ids=[completed])
    client = client_of(bucket)
    orphans = [f"uploads/{caller.tenant_id}/{uuid7()}/a.jpg", f"media/{caller.tenant_id}/{'ab' * 32}/thumbnail.v1.webp"]
    for key in orphans:
        client.put_object(Bucket=bucket.bucket, Key=key, Body=b"12345")

    before = keys_in(bucket)
    arguments = ["sweep", "--older-than-hours", "0", "--json"]
    found = sweep(operators_env, *arguments)
    assert (found["uploads"], found["objects"], found["object_bytes"], keys_in(bucket)) == (2, 2, 10, before)
    assert found["looked_at"] == len(before) == 5
    assert sweep(operators_env, *arguments, "--apply") == found | {"looked_at": 4}, "the abandoned one went before"
    assert keys_in(bucket) - {MARK} == before - {*orphans, abandoned["objectPath"]}
    gone = await operator.rows("SELECT id FROM assets WHERE tenant_id = :id", id=caller.tenant_id)
    assert {str(row["id"]) for row in gone} == {kept["assetId"], completed}
    assert sweep(operators_env, *arguments, "--apply")["uploads"] == 0


async def test_a_bucket_of_another_database_loses_nothing_until_somebody_adopts_it(operator, operators_env, bucket):
    await operator.rows("DELETE FROM assets RETURNING id")
    strange = {f"uploads/x/{number}" for number in range(150)}
    client = client_of(bucket)
    for key in strange:
        client.put_object(Bucket=bucket.bucket, Key=key, Body=b"12345")
    client.put_object(Bucket=bucket.bucket, Key=MARK, Body=b"another")
    before = keys_in(bucket)
    arguments = ["sweep", "--older-than-hours", "0", "--apply", "--json"]
    refused = run_sweep(operators_env, *arguments, "--force")
    assert (refused.returncode, keys_in(bucket)) == (1, before)
    assert "it is marked as another's" in refused.stderr

    shown = medialane(operators_env, "uploads", "adopt-bucket")
    assert (shown.returncode, shown.stdout) == (0, "the bucket is marked as installation another's\n")
    assert run_sweep(operators_env, *arguments).returncode == 1
    adopted = medialane(operators_env, "uploads", "adopt-bucket", "--apply")
    ours = str((await operator.rows("SELECT id FROM installation"))[0]["id"])
    assert adopted.stdout.endswith(f"it is installation {ours}'s now\n"), adopted.stderr
    noted = await operator.rows("SELECT subject, detail FROM audit_log WHERE action = 'bucket.adopt'")
    assert [(row["subject"], row["detail"]) for row in noted] == [(ours, {"was": "another"})]

    stopped = run_sweep(operators_env, *arguments)
    assert (stopped.returncode, keys_in(bucket)) == (1, before)
    assert f"{len(before - {MARK})} are of uploads of which no row knows anything" in stopped.stderr
    assert "--force" in stopped.stderr
    assert sweep(operators_env, *arguments, "--force")["objects"] >= len(strange)
    assert not strange & keys_in(bucket)


async def test_a_name_that_is_no_text_and_a_home_that_is_none_keep_no_file_back(caller, tmp_path):
    good, latin, large = tmp_path / "a.jpg", tmp_path / os.fsdecode(b"caf\xe9.jpg"), tmp_path / os.fsdecode(b"\xe9.mp4")
    good.write_bytes(api.PHOTO)
    latin.write_bytes(api.PHOTO + b"\0")
    large.write_bytes(b"\0\0\0\x18ftypisom" + os.urandom(65 << 20))
    env = {"MEDIALANE_URL": caller.base, "MEDIALANE_API_KEY": caller.key, "XDG_CACHE_HOME": "/proc/none"}
    ended = medialane(env, "upload", "--quiet", str(good), str(latin), str(large))
    assert (ended.returncode, ended.stdout.count("\n")) == (0, 3), ended.stderr
    assert "an interruption would lose it all" in ended.stderr
    one = medialane(env, "assets", "ls", "--limit", "1")
    assert (one.stdout.count("\n"), one.stderr) == (1, "the newest 1: --limit shows more\n")
    names = {asset["fileName"] for asset in json.loads(medialane(env, "assets", "ls", "--json").stdout)}
    assert names == {"a.jpg", "caf\ufffd.jpg", "\ufffd.mp4"}
    none = medialane(env, "assets", "ls", "--tag", "nothing")
    assert (none.returncode, none.stdout, none.stderr) == (0, "", "no assets\n")


@pytest.mark.parametrize("arguments", [[], ["--apply"]])
async def test_a_bucket_that_is_not_there_is_no_bucket_without_a_mark(operators_env, arguments):
    env = operators_env | {"MEDIALANE_S3_BUCKET": "nowhere"}
    refused = medialane(env, "uploads", "adopt-bucket", *arguments)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no such bucket" in refused.stderr


async def test_files_are_uploaded_large_ones_in_parts_that_go_on(caller, operator, tmp_path, monkeypatch):
    small, large, odd = tmp_path / "a.jpg", tmp_path / "b.mp4", tmp_path / "c.unheard"
    small.write_bytes(api.PHOTO)
    large.write_bytes(b"\0\0\0\x18ftypisom" + os.urandom(70 << 20))
    odd.write_bytes(b"?")
    env = {"MEDIALANE_URL": caller.base, "MEDIALANE_API_KEY": caller.key, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    # An earlier run was interrupted after it had begun the large one.
    code = (
        "import asyncio, sys; from pathlib import Path; from cli import upload as u\n"
        "from cli.client import MedialaneClient, PartsUpload\n"
        "async def main():\n"
        "    async with MedialaneClient(sys.argv[1], sys.argv[2]) as client:\n"
        "        path = Path(sys.argv[3]); upload = await PartsUpload(client, path, 'video/mp4').begin()\n"
        "        address = (await client.part_addresses(upload, [1]))[1]\n"
        "        await client.put_part(address, path.read_bytes()[:8 << 20])\n"
        "        note = u._note(client.base_url, path); note.parent.mkdir(parents=True); note.write_text(str(upload))\n"
        "        print(upload)\n"
        "asyncio.run(main())"
    )
    begun = subprocess.run(  # noqa: ASYNC221 - nothing else runs here
        [sys.executable, "-P", "-c", code, caller.base, caller.key, str(large)],
        env=os.environ | env, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    done = medialane(env, "upload", "--quiet", str(small), str(large), str(odd))
    assert done.returncode == 1
    assert "c.unheard: its name tells no content type" in done.stderr
    lines = dict(reversed(line.split("  ", 1)) for line in done.stdout.splitlines())
    assert lines[str(large)] == begun.stdout.strip()
    rows = await operator.rows("SELECT id, state, size FROM assets WHERE tenant_id = :id", id=caller.tenant_id)
    assert {str(row["id"]): (row["state"], row["size"]) for row in rows} == {
        lines[str(small)]: ("uploaded", 5), lines[str(large)]: ("uploaded", large.stat().st_size),
    }  # fmt: skip
    assert not list((tmp_path / "cache").rglob("*-*"))

    listed = medialane(env, "assets", "ls", "--json")
    assert {asset["id"] for asset in json.loads(listed.stdout)} == set(lines.values())
    shown = medialane(env, "assets", "show", lines[str(large)])
    assert (shown.returncode, f"by key:{caller.key.split('_')[1]}" in shown.stdout) == (0, True)
    dry = medialane(env, "assets", "delete", lines[str(small)])
    assert (dry.returncode, "would delete" in dry.stdout) == (0, True)
    assert medialane(env, "assets", "delete", "--yes", lines[str(small)]).returncode == 0
    gone = medialane(env, "assets", "show", lines[str(small)])
    assert (gone.returncode, "not_found" in gone.stderr) == (1, True)


@pytest.fixture
def film(tmp_path):
    """A file that goes in parts."""
    path = tmp_path / "film.mp4"
    path.write_bytes(b"\0\0\0\x18ftypisom" + bytes(64 << 20))
    return path


@pytest.fixture
def own_env(caller, tmp_path, monkeypatch):
    env = {"MEDIALANE_URL": caller.base, "MEDIALANE_API_KEY": caller.key, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    monkeypatch.setenv("XDG_CACHE_HOME", env["XDG_CACHE_HOME"])
    return env


def note_of(caller, path):
    note = _note(caller.base, path)
    note.parent.mkdir(parents=True, exist_ok=True)
    return note


@pytest.mark.parametrize("died", ["before it was told", "after all was done"])
async def test_a_completion_whose_answer_was_lost_makes_no_second_asset(
    caller, operator, bucket, film, own_env, died, monkeypatch
):
    async def lose_answer(upload_id, tags):
        if died == "after all was done":
            await complete(upload_id, tags)
        else:
            asked = "SELECT object_key, upload_id FROM assets WHERE id = :id"
            made = tuple((await operator.rows(asked, id=upload_id))[0].values())
            async with S3ObjectStore(bucket) as store:
                assert await store.complete_multipart(*made, await store.list_parts(*made))
        raise UnreachableError("no answer")

    async with MedialaneClient(caller.base, caller.key) as client:
        complete = client.complete_parts
        monkeypatch.setattr(client, "complete_parts", lose_answer)
        sending = PartsUpload(client, film, "video/mp4")
        upload_id = await sending.begin()
        with pytest.raises(UnreachableError):
            await sending.send(upload_id)
    note_of(caller, film).write_text(str(upload_id))
    done = medialane(own_env, "upload", "--quiet", str(film))
    assert (done.returncode, done.stdout.split()[:1]) == (0, [str(upload_id)]), done.stderr
    rows = await operator.rows("SELECT id, state FROM assets WHERE tenant_id = :id", id=caller.tenant_id)
    assert [tuple(row.values()) for row in rows] == [(upload_id, "uploaded")]
    assert not note_of(caller, film).exists()


@pytest.mark.parametrize("torn", ["", "0192a000-0000"])
async def test_a_torn_note_counts_as_none(caller, operator, film, own_env, torn):
    note = note_of(caller, film)
    note.write_text(torn)
    done = medialane(own_env, "upload", "--quiet", str(film))
    assert done.returncode == 0, done.stderr
    rows = await operator.rows("SELECT state FROM assets WHERE tenant_id = :id", id=caller.tenant_id)
    assert [row["state"] for row in rows] == ["uploaded"]
    assert not list(note.parent.iterdir())


async def test_more_files_than_the_plan_lets_ask_at_once_are_all_uploaded(caller, operator, tmp_path, own_env):
    await operator.put_on_plan(caller.tenant_id, requests_per_s=10, request_burst=2)
    paths = [tmp_path / f"{number}.jpg" for number in range(12)]
    for path in paths:
        path.write_bytes(api.PHOTO)
    done = medialane(own_env, "upload", "--quiet", "--parallel", "12", *map(str, paths))
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 12), done.stderr


async def test_files_are_uploaded_for_some_profiles_only(caller, operator, tmp_path):
    small, large = tmp_path / "a.mp4", tmp_path / "b.mp4"
    small.write_bytes(b"\0\0\0\x18ftypisom")
    large.write_bytes(b"\0\0\0\x18ftypisom" + bytes(64 << 20))
    env = {"MEDIALANE_URL": caller.base, "MEDIALANE_API_KEY": caller.key, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = ["upload", "--quiet", "--profile", "poster", "--profile", "hls", str(small), str(large)]
    done = medialane(env, *command)
    assert done.returncode == 0, done.stderr
    rows = await operator.rows("SELECT state, profiles FROM assets WHERE tenant_id = :id", id=caller.tenant_id)
    assert [tuple(row.values()) for row in rows] == [("uploaded", ["poster", "hls"])] * 2
    refused = medialane(env, "upload", "--quiet", "--profile", "thumbnail", str(small))
    assert (refused.returncode, "profiles_refused" in refused.stderr, "poster" in refused.stderr) == (1, True, True)


def test_without_a_key_it_is_a_usage_error(tmp_path):
    file = tmp_path / "a.jpg"
    file.write_bytes(api.PHOTO)
    done = medialane({}, "upload", str(file))
    assert (done.returncode, "--key" in done.stderr) == (2, True)
