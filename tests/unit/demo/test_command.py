"""What the demo says of a stack that stays up: lines that work as they stand."""

import shlex
import subprocess
from uuid import UUID

import click

from cli.demo.command import how_to_look
from cli.harness.onboarding import Tenant
from cli.main import medialane
from cli.stack import Stack, state
from cli.stack.environment import write_env_file
from cli.stack.layout import layout, program


def test_who_keeps_the_stack_is_told_how_to_look_at_its_assets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = layout(tmp_path / "a stack")
    files.make()
    ports = dict.fromkeys(("postgres", "kafka", "connect", "s3"), 1) | {"api": 4711}
    secrets = state.Secrets.generate()
    state.save(files.state, state.StackState(secrets=secrets, ports=ports))
    write_env_file(files, ports, secrets)
    monkeypatch.setenv("MEDIALANE_API_KEY", "as exported")
    export, *others = how_to_look(Stack(files), Tenant(id=UUID(int=1), slug="demo-1", api_key="mp_prefix_secret"))
    assert "MEDIALANE_URL=http://127.0.0.1:4711" in export
    for name, line in (("ls", others[0]), ("status", others[2]), ("down", others[3])):
        own, group, *words = shlex.split(line, comments=True)
        assert (own, words[0]) == (shlex.split(program())[0], name)
        command = medialane.get_command(click.Context(medialane), group).get_command(click.Context(medialane), name)
        command.make_context(name, words[1:])
    sourced = [export, *(line for line in others if line.startswith(". "))]
    said = subprocess.run(
        ["sh", "-ec", "\n".join([*sourced, "echo $MEDIALANE_URL $MEDIALANE_API_KEY"])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout == "http://127.0.0.1:4711 mp_prefix_secret\n"
