"""The database's history is one line: two steps that follow the same one would leave nobody able to migrate."""

from alembic.script import ScriptDirectory

from migrations.runner import _config


def test_there_is_one_newest_step_and_numbers_go_up_by_one():
    scripts = ScriptDirectory.from_config(_config())
    assert len(scripts.get_heads()) == 1
    numbers = [script.revision for script in scripts.walk_revisions()][::-1]
    assert numbers == [f"{number:04d}" for number in range(1, len(numbers) + 1)]
