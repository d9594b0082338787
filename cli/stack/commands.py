"""`medialane stack`: up, down, status, logs."""

import time
from collections.abc import Mapping
from pathlib import Path

import click

from cli.common.groups import Commands
from cli.stack.errors import StackError
from cli.stack.layout import layout
from cli.stack.library import Stack
from cli.stack.names import ALL, INFRASTRUCTURE, ON_DEMAND
from cli.stack.ports import broker_names
from cli.stack.report import Progress, follow, print_addresses, print_status

_FOLDER = click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="Its folder. [.local/stack/default]"
)  # fmt: skip


@click.group(cls=Commands)
def stack() -> None:
    """The local stack: Postgres, Kafka, Connect, an S3 server and Medialane's processes, without containers."""


@stack.command()
@_FOLDER
@click.option("--only-infra", is_flag=True, help="Leave out Medialane's own processes.")
@click.option("--also", multiple=True, type=click.Choice(ON_DEMAND), help="Start this process, too.")
@click.option("--foreground", is_flag=True, help="Stay, and stop everything at Ctrl-C or when this command dies.")
@click.option("--brokers", type=click.Choice([1, 3]), help="A broker alone, or a cluster of three. [as before, or 1]")
@click.option("--port", "pins", multiple=True, metavar="PART=NUMBER", help="Use this port; repeat for several parts.")
def up(
    folder: Path | None,
    only_infra: bool,
    also: tuple[str, ...],
    foreground: bool,
    brokers: int | None,
    pins: tuple[str, ...],
) -> None:
    """Start the stack, and return when a row has travelled from the outbox to a consumer."""
    parts = (*(INFRASTRUCTURE if only_infra else ALL), *also)
    running = Stack(layout(folder))
    if running.is_running:
        _require_as_it_is(running, brokers, _pins(pins), foreground=foreground)
        _start_missing(running, parts)
        return
    with Progress() as progress:
        handle = Stack.start(folder, parts=parts, ports=_pins(pins), brokers=brokers, progress=progress)
    print_addresses(handle)
    if not foreground:
        handle.detach()
        return
    with handle:
        click.echo("Ctrl-C stops the stack.")
        try:
            handle.wait()
        except KeyboardInterrupt:
            click.echo("Stopping.")


@stack.command()
@_FOLDER
@click.option("--purge", is_flag=True, help="Delete the stack's data as well.")
def down(folder: Path | None, purge: bool) -> None:
    """Stop the stack, and whatever a killed supervisor left of it. No error if nothing runs."""
    files = layout(folder)
    if purge and files.folder.exists() and not files.is_stack:
        raise click.UsageError(f"{files.folder} is no stack's folder: nothing in it is deleted")
    begun = time.monotonic()
    handle = Stack(files)
    was_running = handle.is_running
    left = handle.stop() if files.is_stack else []
    if left:
        click.echo(f"stopped what a killed supervisor left: {', '.join(left)}")
    if was_running:
        click.echo(f"stopped in {time.monotonic() - begun:.1f} s")
    elif not left:
        click.echo(f"nothing runs in {files.folder}")
    if purge:
        files.delete()
        click.echo(f"deleted the stack in {files.folder}")


@stack.command()
@_FOLDER
def status(folder: Path | None) -> None:
    """Print a table of the parts. Exit code 0 only if every one of them is ready."""
    handle = Stack(layout(folder))
    views = handle.status()
    print_status(views)
    if not (views and all(view.ready for view in views)):
        raise SystemExit(1)


@stack.command()
@_FOLDER
@click.argument("part", required=False)
@click.option("--follow", "-f", "followed", is_flag=True, help="Print further lines as they come.")
@click.option(
    "--lines", "-n", type=click.IntRange(min=0), default=50, show_default=True, help="How many of the last lines."
)
def logs(folder: Path | None, part: str | None, followed: bool, lines: int) -> None:
    """Print the end of a part's log, or of every part's."""
    files = layout(folder)
    paths = [files.log(part)] if part else sorted(files.logs.glob("*.log"))
    missing = next((path for path in paths if not path.exists()), None)
    if missing is not None or not paths:
        known = ", ".join(sorted(path.stem for path in files.logs.glob("*.log"))) or "none"
        raise StackError(f"there is no log of {part or 'any part'} in {files.folder}", f"Logs: {known}")
    follow(paths, lines=lines, forever=followed)


def _require_as_it_is(handle: Stack, brokers: int | None, pins: Mapping[str, int], *, foreground: bool) -> None:
    """Raise `StackError` if a stack that runs would have to be started anew to be what is asked for."""
    cure = f"Stop it first: {handle.command('down')}"
    ports = handle.state.ports
    if brokers not in {None, len(broker_names(ports))}:
        raise StackError(f"the stack in {handle.folder} runs with another number of brokers", cure)
    moved = ", ".join(f"{name}={number}" for name, number in pins.items() if ports.get(name) != number)
    if moved:
        raise StackError(f"the stack in {handle.folder} runs on other ports than {moved}", cure)
    if foreground:
        raise StackError(f"the stack in {handle.folder} runs already, and ends not with this command", cure)


def _start_missing(handle: Stack, parts: tuple[str, ...]) -> None:
    running = {view.name for view in handle.status() if view.pid is not None}
    wanted = [name for name in parts if name not in running]
    handle.ensure(wanted)
    click.echo(f"the stack in {handle.folder} is up" + (f"; started {', '.join(wanted)}" if wanted else " already"))


def _pins(words: tuple[str, ...]) -> dict[str, int]:
    pins = {}
    for word in words:
        name, _, number = word.partition("=")
        if not number.isdigit() or not 0 < int(number) < 65_536:
            raise StackError(f"--port {word} makes no sense", "Write it as PART=NUMBER, for instance api=8080")
        pins[name] = int(number)
    return pins
