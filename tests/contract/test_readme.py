"""The README against the code: its settings table, its commands, its links and folders."""

import re
import shlex
from pathlib import Path

import click
import pytest

from cli.main import medialane
from cli.stack.environment import variables
from cli.stack.layout import layout
from cli.stack.ports import Claims, assign
from cli.stack.state import Secrets
from cli.upload import upload
from schemas import settings_table
from schemas.settings import PROCESSES, variable

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]

LOADERS = {
    "api": "api/server.py",
    "media-images": "streams/media/app.py",
    "media-video": "streams/media/app.py",
    "webhooks": "streams/webhooks/app.py",
    "usage": "streams/usage/app.py",
    "keeper": "streams/keeper/app.py",
}


def test_the_settings_table_is_what_the_code_reads() -> None:
    assert settings_table.replace(TEXT) == TEXT, "run python -m schemas.settings_table README.md"


def test_every_setting_is_in_the_table_and_explained() -> None:
    table = settings_table.render()
    for group in {group for groups in PROCESSES.values() for group in groups}:
        for field in group.__struct_fields__:
            row = re.search(rf"(?m)^\| `{variable(group, field)}` \|[^|]+\|[^|]*\| (\S.+) \|$", table)
            assert row is not None, variable(group, field)


@pytest.mark.parametrize("process", LOADERS)
def test_a_process_reads_the_groups_that_the_table_says(process: str) -> None:
    loaded = set(re.findall(r"\bload\((\w+), env\)", (ROOT / LOADERS[process]).read_text(encoding="utf-8")))
    assert loaded == {group.__name__ for group in PROCESSES[process]}


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="the document has no"):
        settings_table.replace("# Nothing here\n")


def test_the_walk_through_waits_for_what_it_then_downloads() -> None:
    block = next(block for block in re.findall(r"(?s)```sh\n(.*?)```", TEXT) if "thumbnail.webp" in block)
    assert block.index("/complete") < block.index("?wait=") < block.index("thumbnail.webp")


def test_the_walk_through_takes_only_variables_that_the_stack_or_itself_has_set(tmp_path: Path) -> None:
    env = variables(assign({}, {}, Claims()), Secrets.generate(), layout(tmp_path))
    walk = TEXT.partition("## Use it")[2].partition("The routes, the errors")[0]
    own = re.findall(r"(?m)^(?:export )?([A-Z_]+)=", walk)
    assert set(re.findall(r"\$([A-Z_]+)", walk)) <= {*env, *own}
    asked = {option.envvar for option in upload.params if isinstance(option, click.Option) and option.required}
    assert asked <= {*env, *own}
    assert env["MEDIALANE_URL"] == f"http://{env['MEDIALANE_API_HOST']}:{env['MEDIALANE_API_PORT']}"


def commands() -> list[list[str]]:
    blocks = re.findall(r"(?s)```sh\n(.*?)```", TEXT)
    lines = [line for block in blocks for line in block.splitlines()]
    found = [re.search(r"(?:^|\$\(|exec \w+ )(medialane [a-z -]+)", line) for line in lines]
    return [shlex.split(match[1])[1:] for match in found if match is not None]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_of_the_examples_exists(words: list[str]) -> None:
    command: click.Command | None = medialane
    for word in words:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), word)
        assert command is not None, word


def test_every_command_is_in_the_table() -> None:
    table = TEXT.partition("| command | does |")[2].partition("\n\n")[0]
    assert [
        name for name in medialane.list_commands(click.Context(medialane)) if not re.search(rf"`{name}\b", table)
    ] == []


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"(?m)^([a-z0-9]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    assert {"demo", "test", "bench"} <= set(re.findall(r"make ([a-z0-9]+)", TEXT)) <= targets


def test_every_folder_of_the_table_exists() -> None:
    folders = re.findall(r"`([\w/]+/)`", TEXT.partition("## Where things are")[2].partition("## Settings")[0])
    assert len(folders) > 10
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        document = (path.parent / name) if name else path
        assert document.exists(), target
        if anchor:
            titles = re.findall(r"(?m)^#+ (.+)$", document.read_text(encoding="utf-8"))
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, target
