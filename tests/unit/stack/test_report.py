"""What is printed of a stack goes nowhere, and harms nothing, where nobody takes it."""

import sys

from cli.stack.report import follow, print_status


def test_a_standard_output_that_is_closed_takes_nothing(tmp_path, monkeypatch):
    (tmp_path / "api.log").write_text("one\ntwo\n")
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it after `>&-`
    follow([tmp_path / "api.log"], lines=1, forever=False)
    print_status([])


def test_the_last_lines_of_each_log_are_printed(tmp_path, capsys):
    for name in ("api", "keeper"):
        (tmp_path / f"{name}.log").write_text(f"one\n{name}\n")
    follow(sorted(tmp_path.glob("*.log")), lines=1, forever=False)
    assert capsys.readouterr().out == "api: api\nkeeper: keeper\n"
