"""`python -m bench`: the commands that put load on a server and compare what is measured.

This module owns their names, and imports the module of the one that is asked for only then: each
of them brings libraries that the others do not need.
"""

from importlib import import_module

import click

COMMANDS = {
    "compare": "bench.compare.command",
    "cost": "bench.http_speed.cost",
    "http": "bench.http_speed.command",
    "load": "bench.load.__main__",
    "overload": "bench.overload.command",
    "peers": "bench.peers.command",
    "profile": "bench.profiling.command",
    "simulate": "bench.simulator.command",
}
"""Which module each command is the `main` of."""


class LazyGroup(click.Group):
    """A group that imports a command when it is used."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return the command of this name. Raises ClickException where it lacks a library."""
        if name not in COMMANDS:
            return None
        try:
            command: click.Command = import_module(COMMANDS[name]).main
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"{name} needs {error.name}, which is not installed; `make check` and `make bench`"
                " install what these commands need"
            ) from None
        return command


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """Load a server, and measure: every figure of the README comes from one of these."""


if __name__ == "__main__":
    main(prog_name="python -m bench")
