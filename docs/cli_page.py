"""The page about the command line, made from the commands."""
# ruff: noqa: INP001 - a part of generate.py

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from dbsight.cli.exit_codes import MEANINGS
from dbsight.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

INTRODUCTION = """\
# Command line

<!-- Made by `python docs/generate.py` from the commands in `src/dbsight/cli/`: edit there. -->

`dbsight COMMAND --help` prints the same. `--json` outputs JSON on standard output; messages go to standard error.

## Exit codes

"""

FOOT = """
`dbsight run` exits with the code of the command that it runs.

## Completion

```sh
eval "$(dbsight completion bash)"     # in ~/.bashrc; zsh in ~/.zshrc
dbsight completion fish > ~/.config/fish/completions/dbsight.fish
```
"""


def cli() -> str:
    """The whole page."""
    text = INTRODUCTION + "| code | meaning |\n| ---: | --- |\n"
    text += "".join(f"| {code} | {meaning} |\n" for code, meaning in MEANINGS.items())
    return text + FOOT + "".join(_section(name, command) for name, command in _commands(main, ("dbsight",)))


def _commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        words = (*path, name)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield " ".join(words), command
        if isinstance(command, click.Group):
            yield from _commands(command, words)


def _section(name: str, command: click.Command) -> str:
    about, _, example = (command.help or "").partition("Example: ")
    paragraphs = [" ".join(each.split()) for each in about.split("\n\n")]
    context = click.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    text = f"\n## {name}\n\n" + "\n\n".join(filter(None, paragraphs)) + f"\n\n```text\n{name} {usage}\n```\n"
    rows = [option for option in command.params if isinstance(option, click.Option)]
    if rows:
        text += "\n| option | meaning |\n| --- | --- |\n"
        text += "".join(f"| `{_names(option)}` | {_meaning(option, context)} |\n" for option in rows)
    return text + f"\n```sh\n{' '.join(example.split())}\n```\n"


def _names(option: click.Option) -> str:
    names = ", ".join((*option.opts, *option.secondary_opts))
    if option.is_flag:
        return names
    kind = option.type
    return f"{names} {'/'.join(map(str, kind.choices)) if isinstance(kind, click.Choice) else kind.name.upper()}"


def _meaning(option: click.Option, context: click.Context) -> str:
    text = re.sub(r"\s+", " ", option.help or "").strip()
    default = option.get_default(context)
    if option.show_default and default is not None:
        text = f"{text} Default: `{default}`.".strip()
    return text.replace("|", "\\|")
