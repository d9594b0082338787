"""`medialane`: one command, its subcommands loaded only when they are used, so that `--help` is quick.

A subcommand is a line in `COMMANDS`: its module, the click command in it, and what `--help` says.
"""

import errno
import importlib
import io
import os
import sys
from typing import NamedTuple

import click


class Lazy(NamedTuple):
    """Where a subcommand is, and its one-line help (said here, so that listing imports nothing)."""

    module: str
    attribute: str
    help: str


COMMANDS: dict[str, Lazy] = {
    "stack": Lazy("cli.stack.commands", "stack", "The local stack: up, down, status, logs."),
    "run": Lazy("cli.run", "run", "Run one of Medialane's processes."),
    "migrate": Lazy("cli.migrate", "migrate", "Bring the database's tables to this release."),
    "topics": Lazy("cli.topics", "topics", "Plan and apply the declared topics."),
    "partitions": Lazy("cli.partitions.command", "partitions", "Where tenants are, and moving them."),
    "usage": Lazy("cli.usage", "usage", "What each tenant used: jobs, CPU seconds, bytes, waits."),
    "connector": Lazy("cli.connector", "connector", "The outbox connector: register, status, stop, start, resend."),
    "lanes": Lazy("cli.lanes", "lanes", "Show and change what lanes may run and hold, while workers run."),
    "tenants": Lazy("cli.tenants", "tenants", "Create and list tenants; their plans and shares of the workers."),
    "plans": Lazy("cli.plans", "plans", "List and set plans: request rates and quotas."),
    "secrets": Lazy("cli.secrets", "secrets", "Seal what is stored encrypted under another key."),
    "keys": Lazy("cli.keys", "keys", "Mint, rotate, list and revoke API keys."),
    "upload": Lazy("cli.upload", "upload", "Upload files, large ones in parts."),
    "uploads": Lazy("cli.uploads", "uploads", "Remove what uploads left behind."),
    "assets": Lazy("cli.assets", "assets", "List, show, download and delete assets; for operators: cancel, remove."),
    "events": Lazy("cli.events", "events", "Export what happened to assets, from further back than the topic goes."),
    "dlq": Lazy("cli.dlq", "dlq", "Dead letters: list, show, replay, purge."),
    "webhooks": Lazy("cli.webhooks", "webhooks", "What was sent to webhooks, and sending it again; listen to them."),
    "reprocess": Lazy("cli.reprocess", "reprocess", "Make a profile's present version for what lacks it."),
    "audit": Lazy("cli.audit", "audit", "The audit log: who did what."),
    "breakers": Lazy("cli.breakers", "breakers", "Tenants whose jobs are held back."),
    "schemas": Lazy("cli.schemas", "schemas", "Generate or check the published contracts."),
    "demo": Lazy("cli.demo.command", "demo", "Run the whole pipeline on real photos and a real video."),
    "bench": Lazy("cli.bench.command", "bench", "Measure the whole pipeline."),
}


_EXPECTED = {
    "SettingsError": 2,
    "StackError": 1,
    "MedialaneError": 1,
    "TopicsError": 1,
    "TopicsFileError": 1,
    "ConnectError": 1,
    "DestructiveStepError": 1,
    "PhaseError": 1,
    "TablesInUseError": 1,
    "RoleNeededError": 1,
}


_DATABASE_AWAY = "database_unavailable"
_OF_A_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EADDRINUSE, errno.EADDRNOTAVAIL}
"""Of an `OSError` that names no file: a disk that is full or may not be written to, a port that cannot be had."""


class LazyGroup(click.Group):
    """A group whose commands are imported at their first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the table's order."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        del ctx
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        command = getattr(importlib.import_module(found.module), found.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{found.module}.{found.attribute} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table, without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def medialane() -> None:
    """A media platform on Kafka: photos and videos in, variants out."""
    import structlog  # noqa: PLC0415 - not for a mere `--help`

    # What commands print is read by programs: what is logged beside it goes elsewhere.
    if not structlog.is_configured():
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def main() -> None:
    """Entry point. Expected errors are one line on standard error; bad settings exit with 2, the rest with 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be in no encoding, or not in this one
    try:
        medialane.main(prog_name="medialane")
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        click.echo(f"medialane: {_told(error)}", err=True)
        sys.exit(code)


def _exit_code(error: Exception) -> int | None:
    """The exit code of an error that people can act on; None for a defect, which shows its traceback.

    Told by name, not by class: importing those classes here would make every `--help` slow.
    """
    if isinstance(error, OSError) and (error.filename is not None or error.errno in _OF_A_PLACE):
        return 1
    if _is_of_no_text(error):
        return 2
    return next((_EXPECTED[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _EXPECTED), None)


def _told(error: Exception) -> str:
    """What is wrong, in one line. Of a database that does not answer the driver's reason, too: these are operators."""
    if isinstance(error, OSError):
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{where}{error.strerror}" if error.strerror else str(error)
    if _is_of_no_text(error):
        return "what was typed is no text in UTF-8"
    driver = str(getattr(error.__cause__, "orig", None) or "").strip()
    if not driver or getattr(error, "code", None) != _DATABASE_AWAY:
        return str(error)
    return f"{str(error).removesuffix('.')}: {driver.splitlines()[0]}"


def _is_of_no_text(error: Exception) -> bool:
    """Bytes of the command line that are no UTF-8 go through Python as surrogates, and nowhere else."""
    return isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed"


if __name__ == "__main__":
    main()
