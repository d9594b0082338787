"""Groups of commands as `--help` lists them."""

import click

_WHOLE = 1000  # characters: more than any first sentence has


class Commands(click.Group):
    """A group whose list has each command's whole first sentence: click cuts it where a narrow terminal ends."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(_WHOLE)) for name, command in found if command is not None]
            )
