"""Whose stacks a test run deletes at its end: its own, and never a developer's that it was told to use."""

from support import e2e, stack


def test_a_developers_stack_stays_and_the_runs_own_ones_go(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    developers = tmp_path / "stacks" / "default"
    monkeypatch.setenv("MEDIALANE_TEST_STACK", str(developers))
    assert stack.folder_for(7) == developers
    others = [developers, developers.with_name("default-mine"), stack.runs_own(77, "e2e")]
    for folder in (*others, e2e.folder_for(7), stack.runs_own(7), stack.runs_own(7, "test_a_full_disk")):
        folder.mkdir(parents=True)
    stack.release(stack.runs_own(7))
    assert sorted((tmp_path / "tmp").iterdir()) == [stack.runs_own(77, "e2e")]
    assert all(folder.exists() for folder in others)
