"""Exit codes of all commands; docs/cli.md has the same table."""

from __future__ import annotations

from typing import Final

import click

from dbsight.exit_report import EXIT_CODE

CLEAN: Final = 0
FINDINGS: Final = 1
USAGE: Final = 2
FAIL_ON: Final = EXIT_CODE

MEANINGS: Final = {
    CLEAN: "Success: nothing was found, all checks passed, or the command only prints.",
    FINDINGS: "Findings, a failed check, or a regression.",
    USAGE: "The command could not do what was asked: wrong arguments, an unreadable file, a missing package.",
    FAIL_ON: "Findings match `OTEL_DBSIGHT_FAIL_ON` or `--fail-on`.",
}
"""What each code means. ``dbsight run`` and ``dbsight load`` exit with the code of the command that they run."""


class UsageFault(click.ClickException):
    """The command cannot do what was asked, for a reason of one sentence."""

    exit_code = USAGE
