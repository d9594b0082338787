"""What a program run on hostile bytes may do: its input, its folder, its time; and what its end is called."""

import os
from pathlib import Path

import pytest

from processors.contract import MediaError
from processors.ffmpeg import helper
from processors.sandbox import landlock
from schemas.errors import ErrorClass, ErrorCode


def run(*argv, reads, writes=None, cpu_s=20.0, wall_s=30.0, **more):
    return helper.run(argv, reads=reads, writes=writes, cpu_s=cpu_s, wall_s=wall_s, **more)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "mine").write_text("my own\nfilm\n")
    (tmp_path / "other").write_text("another tenant's")
    (tmp_path / "folder").mkdir()
    return tmp_path


needs_landlock = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")


def test_a_program_reads_its_input_and_writes_its_folder(files):
    assert run("cat", str(files / "mine"), reads=files / "mine").output == "my own\nfilm\n"
    run("cp", str(files / "mine"), str(files / "folder/copy"), reads=files / "mine", writes=files / "folder")
    assert (files / "folder/copy").read_text() == "my own\nfilm\n"
    heard = []
    assert run("cat", str(files / "mine"), reads=files / "mine", on_line=heard.append).output == ""
    assert heard == ["my own\n", "film\n"]


@needs_landlock
@pytest.mark.parametrize(
    "argv",
    [
        ["cat", "{}/other"],
        ["cat", "/etc/passwd"],
        ["cat", "/proc/self/environ"],
        ["ls", "{}"],
        ["cp", "{}/mine", "{}/copy"],
        ["cp", "{}/mine", "{}/other"],
        ["rm", "{}/mine"],
        ["ffmpeg", "-v", "error", "-f", "concat", "-safe", "0", "-i", "{}/other", "-f", "null", "-"],
    ],
)
def test_it_reaches_nothing_else(files, argv):
    with pytest.raises(MediaError):
        run(*(part.format(files) for part in argv), reads=files / "mine", writes=files / "folder")
    assert (files / "mine").exists()
    assert (files / "other").read_text() == "another tenant's"
    assert not (files / "copy").exists()


def test_neither_the_caller_nor_what_it_hears_lines_with_is_confined(files):
    privileges, seen = no_new_privileges(), []
    # A library may start threads here that outlive the job; they must not be confined to its files.
    run("cat", str(files / "mine"), reads=files / "mine", on_line=lambda _: seen.append((files / "other").read_text()))
    assert seen == ["another tenant's"] * 2
    assert (files / "other").read_text()
    (files / "new").write_text("x")
    assert no_new_privileges() == privileges


def no_new_privileges():
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("NoNewPrivs:"))


def test_time_is_limited_by_the_clock_and_by_cpu(files):
    with pytest.raises(MediaError) as caught:
        run("sleep", "60", reads=files / "mine", wall_s=0.1)
    assert caught.value.code is ErrorCode.PROCESSING_TIMEOUT
    with pytest.raises(MediaError) as caught:
        run("sh", "-c", "while :; do :; done", reads=files / "mine", cpu_s=0.1)
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
    assert caught.value.error_class is ErrorClass.PERMANENT


def test_a_crash_may_pass_and_a_refusal_may_not(files):
    with pytest.raises(MediaError) as caught:
        run("sh", "-c", "kill -SEGV $$", reads=files / "mine")
    assert caught.value.code is ErrorCode.CHILD_DIED
    assert "SIGSEGV" in caught.value.detail
    for words, code in (
        ("moov atom not found", ErrorCode.TRUNCATED),
        ("Cannot allocate memory", ErrorCode.LIMIT_EXCEEDED),
        ("No space left on device", ErrorCode.NO_TEMP_SPACE),
        ("anything else", ErrorCode.CORRUPT),
    ):
        with pytest.raises(MediaError) as caught:
            run("sh", "-c", f"echo file:/secret/place/in.mp4: {words} >&2; exit 1", reads=files / "mine")
        assert caught.value.code is code
        assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    ("program", "code"), [("ffprobe", ErrorCode.UNSUPPORTED_FORMAT), ("ffmpeg", ErrorCode.CORRUPT)]
)
def test_only_ffprobe_gives_up_for_what_is_not_on_a_white_list(files, monkeypatch, program, code):
    said = "[srt] Codec (srt) not on whitelist 'h264,aac'\nError while decoding"
    (files / "bin").mkdir()
    (files / "bin" / program).write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 1\n')
    (files / "bin" / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{files}/bin:{os.environ['PATH']}")
    with pytest.raises(MediaError) as caught:
        run(program, reads=files / "mine")
    assert caught.value.code is code
    assert "Error while decoding" in caught.value.detail


def test_a_folder_that_grows_past_its_cap_ends_the_program(files):
    writer = ["sh", "-c", f"exec yes > {files}/folder/big"]
    with pytest.raises(MediaError) as caught:
        run(*writer, reads=files / "mine", writes=files / "folder", disk_bytes=8_000_000)
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED


def test_a_program_that_talks_without_end_is_cut_short(files):
    with pytest.raises(MediaError) as caught:
        run("yes", reads=files / "mine")
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
