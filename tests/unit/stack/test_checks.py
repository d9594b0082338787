"""What keeps a stack from starting is said cause first, then cure."""

import os

import pytest
from support.nobody import as_nobody

from cli.stack import checks
from cli.stack.errors import StackError
from cli.stack.layout import Layout


def java_program(folder, version):
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    program.chmod(0o755)
    return program


def test_no_java_on_the_path(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match=r"^no Java on PATH: Kafka needs a JDK.*\. Run deploy/local/bootstrap\.sh"):
        checks.java()


def test_a_java_home_without_java_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StackError, match=f"no Java in JAVA_HOME \\({tmp_path}\\)"):
        checks.java()


@pytest.mark.parametrize(("version", "said"), [("11.0.2", "Java 11"), ("1.8.0_402", "Java 8")])
def test_an_old_java_is_named_with_its_version(monkeypatch, tmp_path, version, said):
    java_program(tmp_path, version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StackError, match=f"is {said}: Kafka needs a JDK, 17"):
        checks.java()


def test_missing_jars_are_named_with_their_folder(monkeypatch, tmp_path):
    java_program(tmp_path / "jdk", "17.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    monkeypatch.setenv("MEDIALANE_STACK_JARS", str(tmp_path))
    with pytest.raises(StackError, match=f"no jars in {tmp_path}/libs"):
        checks.java()


def test_the_newest_postgres_is_found_beside_old_ones(monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "_POSTGRES", tmp_path)
    monkeypatch.delenv("MEDIALANE_STACK_POSTGRES", raising=False)
    for version in ("9.6", "14"):
        (tmp_path / version / "bin").mkdir(parents=True)
        for program in ("postgres", "initdb"):
            (tmp_path / version / "bin" / program).touch()
    with pytest.raises(StackError, match=f"no Postgres 15 or newer in {tmp_path}"):
        checks.postgres_programs()
    for version in ("15", "16", "17"):  # of the last, a server alone is not enough
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "postgres").touch()
    for version in ("15", "16"):
        (tmp_path / version / "bin" / "initdb").touch()
    assert checks.postgres_programs() == tmp_path / "16" / "bin"


def test_a_full_disk_says_how_much_is_free_and_how_much_is_needed(tmp_path):
    with pytest.raises(StackError, match=rf"disk of {tmp_path} is full: \d+ MB free, 999999999 MB needed\. Free some"):
        checks.check_disk(tmp_path / "not" / "yet", needed_mb=999_999_999)
    checks.check_disk(tmp_path, needed_mb=1)


def test_too_little_memory_says_how_much_there_is(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8000000 kB\nMemAvailable:  512000 kB\n")
    with pytest.raises(StackError, match=r"not enough memory: 500 MB available, 1400 MB needed\. Stop other"):
        checks.check_memory(needed_mb=1400, source=meminfo)
    checks.check_memory(needed_mb=400, source=meminfo)
    checks.check_memory(needed_mb=400, source=tmp_path / "absent")


def complaint_of_nobody(folder):
    """What `check_owner` says to a user who owns nothing."""

    def ask():
        try:
            checks.check_owner(folder)
        except StackError as error:
            return str(error)
        return "no complaint"

    return as_nobody(ask)


def test_a_folder_of_somebody_else_is_named_with_its_owner(open_folder):
    (open_folder / "theirs").mkdir(mode=0o555)
    expected = f"{open_folder / 'theirs'} belongs to {open_folder.owner()}. Use another folder with --dir, or run as"
    assert complaint_of_nobody(open_folder / "theirs").startswith(expected)
    assert complaint_of_nobody(open_folder / "not yet there") == "no complaint"


@pytest.mark.skipif(os.geteuid() != 0, reason="an owner may always look into what is his")
def test_a_folder_that_cannot_even_be_looked_at_is_named(open_folder):
    (open_folder / "closed" / "stack").mkdir(parents=True)
    (open_folder / "closed").chmod(0o700)
    assert "closed/stack is in a folder of somebody else. Use another" in complaint_of_nobody(
        open_folder / "closed" / "stack"
    )


def test_the_disk_of_the_database_is_looked_at_too_where_it_is_another(monkeypatch, tmp_path):
    looked = []
    monkeypatch.setattr(checks, "check_disk", looked.append)
    for name in ("java", "weed", "postgres_programs", "check_memory"):
        monkeypatch.setattr(checks, name, lambda: None)
    monkeypatch.setattr(Layout, "postgres_data", tmp_path / "elsewhere" / "postgres")
    checks.preflight(Layout(tmp_path / "stack"))
    assert looked == [tmp_path / "stack", tmp_path / "elsewhere"]
