"""The group of the `partitions` commands."""

import click

from cli.common.groups import Commands
from cli.partitions.moving import apply, move, plan
from cli.partitions.showing import show, show_skew
from cli.partitions.simulating import simulate


@click.group(cls=Commands)
def partitions() -> None:
    """Which partition carries which tenant, and moving them.

    The database is the one that MEDIALANE_DATABASE_URL names, under the worker role.
    """


for _command in (show, show_skew, plan, apply, move, simulate):
    partitions.add_command(_command)
