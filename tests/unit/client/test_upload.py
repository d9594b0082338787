"""`medialane upload`: files that are gone by their turn, what is said of files, and how long they are followed."""

import asyncio
import json
from uuid import UUID

import pytest
from click.testing import CliRunner
from support.answering import NOON

from cli import assets, upload
from cli.client import MedialaneClient

ASSET = UUID(int=1)


@pytest.mark.parametrize("large", [False, True])
def test_a_file_that_is_gone_by_its_turn_is_one_problem_and_the_others_are_told(monkeypatch, tmp_path, large):
    paths = [tmp_path / f"{name}.jpg" for name in "abc"]
    for path in paths:
        path.write_bytes(b"x")
    if large:  # it is there when its size is asked, and gone when it is opened
        monkeypatch.setattr(upload, "IN_PARTS_FROM", 1)

        async def in_parts(run, client, path, *_):
            paths[1].unlink(missing_ok=True)
            path.open().close()
            return ASSET

        monkeypatch.setattr(upload._Run, "_in_parts", in_parts)

    async def sent(client, name, content_type, path, **about):
        paths[1].unlink(missing_ok=True)
        return ASSET

    monkeypatch.setattr(MedialaneClient, "upload", sent)
    arguments = [*map(str, paths), "--key", "mp_a_b", "--quiet", "--parallel", "1"]
    ended = CliRunner().invoke(upload.upload, arguments)
    assert ended.exit_code == 1, ended.exception
    assert ended.stdout.splitlines() == [f"{ASSET}  {path}" for path in (paths[0], paths[2])]
    assert f"medialane: {paths[1]}: " in ended.stderr
    assert "No such file" in ended.stderr


def job(stage, state):
    return {"id": str(ASSET), "generation": 1, "stage": stage, "state": state, "attempts": 1, "createdAt": NOON}


@pytest.mark.parametrize(
    ("option", "until", "states", "told"),
    [
        ("--wait", "ready", ("done", "running"), None),
        ("--settled", "settled", ("done", "done"), None),
        ("--settled", "settled", ("done", "failed"), "ready, without what image.avif makes"),
    ],
)
async def test_files_are_told_about_and_followed_as_far_as_was_asked(server, tmp_path, option, until, states, told):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"12345")
    begun = {
        "uploadUrl": f"{server.url}/there", "assetId": str(ASSET), "method": "PUT", "headers": {}, "objectPath": "x",
        "publicUrl": "x", "expiresAt": 1,
    }  # fmt: skip
    asset = {
        "id": str(ASSET), "state": "ready", "generation": 1, "kind": "image", "fileName": "a.jpg", "size": 5,
        "contentType": "image/jpeg", "createdAt": NOON,
        "jobs": [job(*of) for of in zip(("image.primary", "image.avif"), states, strict=True)],
    }  # fmt: skip
    server.answers = [(200, {"data": begun}), (200, b""), (200, {"message": "done"}), (200, {"data": asset})]
    arguments = [str(path), option, "--url", server.url, "--key", "mp_a_b", "--quiet"]
    arguments += ["--tag", "beach", "--tag", "2026", "--metadata", "album=a=b", "--metadata", "by="]
    ended = await asyncio.to_thread(CliRunner().invoke, upload.upload, arguments)
    said = json.loads(server.asked[0][3])
    assert (said["tags"], said["metadata"]) == (["beach", "2026"], {"album": "a=b", "by": ""})
    assert f"until={until}" in server.asked[-1][1]
    assert ended.stdout == f"{ASSET}  ready  {path}\n"
    assert (ended.exit_code, ended.stderr) == ((1, f"medialane: {path}: {told}\n") if told else (0, ""))


def test_an_entry_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    arguments = [str(tmp_path / "a.jpg"), "--key", "mp_a_b", "--metadata", "album"]
    ended = CliRunner().invoke(upload.upload, arguments)
    assert (ended.exit_code, "'album' is not KEY=VALUE" in ended.stderr) == (2, True)


@pytest.mark.parametrize("command", [upload.upload, assets.listing])
def test_a_name_with_two_values_is_refused_and_the_same_twice_is_not(tmp_path, command):
    (tmp_path / "a.jpg").write_bytes(b"x")
    given = [str(tmp_path / "a.jpg")] if command is upload.upload else []
    given += ["--key", "mp_a_b", "--url", "http://127.0.0.1:1", "--metadata", "album=2026", "--metadata"]
    ended = CliRunner().invoke(command, [*given, "album=2025"])
    assert (ended.exit_code, "'album' has one value" in ended.stderr) == (2, True)
    assert CliRunner().invoke(command, [*given, "album=2026"]).exit_code == 1


def test_an_interrupted_upload_is_gone_on_with_only_if_the_same_is_said_of_it(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")
    said = [
        upload.About({}, (), None), upload.About({}, (), ("thumbnail",)), upload.About({}, ("thumbnail",), None),
        upload.About({"a": "b"}, (), None), upload.About({"a": "b"}, ("thumbnail",), None),
    ]  # fmt: skip
    assert len({upload._note("http://x", path, about) for about in said}) == len(said)
