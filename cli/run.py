"""`medialane run <process>`: one of Medialane's processes, in the foreground, until SIGTERM or SIGINT.

Each is imported only when it is run: a keeper needs no Faust, an API no ImageMagick.
"""

import importlib
import os
import sys

import click

TARGETS: dict[str, str] = {
    "api": "api.server:run",
    "media-images": "streams.media.app:run_images",
    "media-video": "streams.media.app:run_video",
    "webhooks": "streams.webhooks.app:run",
    "usage": "streams.usage.app:run",
    "keeper": "streams.keeper.app:run",
}
"""Where each process begins: a function that takes the environment and returns an exit code (None: 0)."""


@click.command()
@click.argument("process", type=click.Choice(list(TARGETS)), metavar="|".join(TARGETS))
def run(process: str) -> None:
    """Run one of Medialane's processes.

    Settings come from MEDIALANE_* variables; one that is missing or wrong is named, and the exit code is 2. SIGTERM
    drains within MEDIALANE_SHUTDOWN_DRAIN_TIMEOUT seconds.
    """
    module, _, function = TARGETS[process].partition(":")
    sys.exit(getattr(importlib.import_module(module), function)(os.environ) or 0)
