"""``dbsight completion SHELL``: completion of commands and options in shells."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from dbsight.cli.exit_codes import UsageFault

_VARIABLE = "_DBSIGHT_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands and options in a SHELL.

    Example: dbsight completion bash
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageFault(f"click has no completion for {shell}")
    click.echo(kind(context.find_root().command, {}, "dbsight", _VARIABLE).source())
