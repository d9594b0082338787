"""The group of the `partitions` commands."""

import click

from cli.partitions.moving import apply, move, plan


@click.group()
def partitions() -> None:
    """Which partition carries which tenant, and moving them.

    The database is the one that MEDIALANE_DATABASE_URL names, under the worker role.
    """


for _command in (plan, apply, move):
    partitions.add_command(_command)
