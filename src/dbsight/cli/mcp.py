"""``dbsight mcp``: a local server of the Model Context Protocol for coding agents."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbsight.cli.agent import AgentError, Project, tools
from dbsight.cli.exit_codes import UsageFault
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

_INSTRUCTIONS = (
    "Findings of dbsight about the database queries of this project. List them, show one with its evidence, change the"
    " code, run the command again, and compare."
)


@click.command()
@click.argument("run", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Ask the live processes of OTEL_DBSIGHT_SERVE=PORT instead."
)
@click.option("--allow-run", is_flag=True, help="Offer the tool run_command, which runs any command of the agent.")
@click.option(
    "--project",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    help="Directory whose files may be read; default: the working directory.",
)
def mcp(run: tuple[Path, ...], port: int | None, allow_run: bool, project: Path) -> None:
    """Serve saved runs or a live process to a coding agent, over standard input and output.

    The agent can list findings, show one with its evidence, and compare runs; with --allow-run it can also run
    commands. It gets what the report shows, and lines around findings of Python files below the project directory.
    Needs `pip install 'dbsight[mcp]'`.

    Example: dbsight mcp run.json
    """
    try:
        from mcp.server.mcpserver import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError as error:
        raise UsageFault("the server needs the MCP SDK, version 2: pip install 'dbsight[mcp]'") from error
    server = MCPServer("dbsight", version=__version__, instructions=_INSTRUCTIONS)
    for name, tool in tools(Project(project, run, port), allow_run=allow_run).items():
        server.add_tool(_told(tool, ToolError), name=name)
    server.run("stdio")


def _told(tool: Callable[..., str], fault: type[Exception]) -> Any:
    """The tool with faults that the agent can read."""

    @wraps(tool)
    def call(*arguments: Any, **named: Any) -> str:
        try:
            return tool(*arguments, **named)
        except AgentError as error:
            raise fault(str(error)) from error

    return call
