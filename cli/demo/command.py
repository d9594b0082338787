"""`medialane demo` as a program: its own stack up, the acts, the stack down, one last line that says all."""

import asyncio
import os
import shlex
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from cli.client import ClientError
from cli.demo.acts import Verdict, act
from cli.harness.onboarding import CommandError, Tenant, new_tenant
from cli.harness.running import Progress, begin_empty, ends_in_good_order, platform_of
from cli.harness.samples import MissingSamplesError, Samples, find_samples
from cli.stack import Stack, StackError
from cli.stack.layout import program

_FOLDER = Path(".local/stack/demo")
_RESULT = Path("build/demo.json")


@click.command(name="demo")
@click.option("--keep", is_flag=True, envvar="KEEP", help="Leave the stack up at the end and print its addresses.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=_FOLDER, help="Its stack's new folder.")
def demo(*, keep: bool, folder: Path) -> None:
    """Run the whole pipeline on real photos and a real video, and check every promise."""
    console = Console(width=max(Console().width, 110))
    progress = Progress(console)
    try:
        with ends_in_good_order():
            verdict = _play(console, progress, folder, keep=keep)
    except (StackError, MissingSamplesError, ClientError, CommandError) as error:
        console.print(f"[red]demo failed:[/red] {escape(str(error))}", highlight=False)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        console.print("demo interrupted; everything it started is stopped")
        raise SystemExit(130) from None
    _conclude(console, verdict, progress.seconds)


def _play(console: Console, progress: Progress, folder: Path, *, keep: bool) -> Verdict:
    samples = find_samples()
    progress.tell("starting Postgres, Kafka, Connect, the S3 server and Medialane on free ports")
    begin_empty(folder, own=_FOLDER)
    stack = Stack.start(folder, progress=progress.stack_event)
    kept = False
    try:
        tenant, verdict = asyncio.run(_acts(stack, samples, console, progress))
        if keep:
            stack.detach()
            kept = True
            _show(stack, tenant)
    finally:
        if not kept:
            stack.stop(quick=True)  # the next demo begins on empty data, so nobody needs this one's
    progress.tell("stack left running" if kept else "stack stopped")
    return verdict


async def _acts(stack: Stack, samples: Samples, console: Console, progress: Progress) -> tuple[Tenant, Verdict]:
    platform = platform_of(stack)
    tenant = await new_tenant(platform.env, "demo")
    progress.tell(f"tenant {tenant.slug} and its API key made")
    return tenant, await act(platform, tenant, samples, console, progress.tell)


def how_to_look(stack: Stack, tenant: Tenant) -> list[str]:
    """Lines to type, as they stand, at a stack that stays up: first as the demo's tenant, then as its operator."""
    folder, own = shlex.quote(os.path.relpath(stack.folder)), program()
    return [
        f"export MEDIALANE_URL={stack.env['MEDIALANE_URL']} MEDIALANE_API_KEY={tenant.api_key}",
        f"{own} assets ls",
        f". {folder}/env  # for operators' commands",
        f"{own} stack status --dir {folder}",
        f"{own} stack down --dir {folder}  # --purge deletes its data, too",
    ]


def _show(stack: Stack, tenant: Tenant) -> None:
    click.echo("The stack stays up:")
    for name, address in stack.addresses.items():
        click.echo(f"  {name:14} {address}")
    click.echo("To look at what was made, and to stop it:")
    for line in how_to_look(stack, tenant):
        click.echo(f"  {line}")


def _conclude(console: Console, verdict: Verdict, seconds: float) -> None:
    for failure in verdict.failures:
        console.print(f"[red]did not hold:[/red] {escape(failure)}", highlight=False)
    _RESULT.parent.mkdir(exist_ok=True)
    result = {"seconds": round(seconds, 1), "ok": not verdict.failures} | msgspec.structs.asdict(verdict)
    _RESULT.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    if verdict.failures:
        click.echo(f"demo: {len(verdict.failures)} checks did not hold, {verdict.held} did, {seconds:.1f} s")
        raise SystemExit(1)
    click.echo(
        f"demo: {verdict.assets} assets ready, {verdict.variants} variants, "
        f"{verdict.webhooks} webhooks verified, {seconds:.1f} s"
    )
