"""`medialane upload` with files that are gone by their turn: each has its own line, and the others are uploaded."""

from uuid import UUID

import pytest
from click.testing import CliRunner

from cli import upload
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

    async def sent(client, name, content_type, path, *, profiles):
        paths[1].unlink(missing_ok=True)
        return ASSET

    monkeypatch.setattr(MedialaneClient, "upload", sent)
    arguments = [*map(str, paths), "--key", "mp_a_b", "--quiet", "--parallel", "1"]
    ended = CliRunner().invoke(upload.upload, arguments)
    assert ended.exit_code == 1, ended.exception
    assert ended.stdout.splitlines() == [f"{ASSET}  {path}" for path in (paths[0], paths[2])]
    assert f"medialane: {paths[1]}: " in ended.stderr
    assert "No such file" in ended.stderr
