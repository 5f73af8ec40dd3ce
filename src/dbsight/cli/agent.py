"""What coding agents ask about saved runs or a live process: findings, evidence, comparisons, new runs.

Answers are Markdown with what the report shows, and lines around findings of Python files in the project directory.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dbsight import config
from dbsight.bench.compared import compare_runs, told
from dbsight.cli.compare import verdict
from dbsight.cli.exit_codes import UsageFault
from dbsight.cli.run import instrumented
from dbsight.cli.runs import read_live
from dbsight.formatting import counted, seconds
from dbsight.monitor.merging import merged
from dbsight.report import finding_text, markdown
from dbsight.report import json as saved
from dbsight.report.causes import causes, label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model import CallSite, Snapshot

_AROUND: Final = 6
"""Lines shown before and after the line of a finding."""

_LARGEST: Final = 1_000_000
"""Bytes of the largest source file that is read."""


class AgentError(Exception):
    """What was asked for cannot be answered, for a reason of one sentence."""


class Project:
    """Runs of one project.

    Args:
        directory: Only files below it are read.
        runs: Saved runs, merged; read again for each answer.
        port: Of a live process (``OTEL_DBSIGHT_SERVE``), instead of saved runs; None without one.
    """

    def __init__(self, directory: Path, runs: Sequence[Path] = (), port: int | None = None) -> None:
        self._directory = directory.resolve()
        self._runs = list(runs)
        self._port = port
        self._latest: Snapshot | None = None
        self._previous: Snapshot | None = None

    # -- Answers ------------------------------------------------------------------------------------------------------

    def findings(self) -> str:
        """All findings, those that save most first: id, severity, title, line, saving."""
        snapshot = self._snapshot()
        found = causes(snapshot.findings)
        if not found:
            return f"No findings in {counted(snapshot.calls, 'query', 'queries')}."
        lines = [f"{counted(len(found), 'finding')} in {counted(snapshot.calls, 'query', 'queries')}:", ""]
        for cause in found:
            finding = cause.main.finding
            where = f" at {markdown.code(str(finding.call_site))}" if finding.call_site is not None else ""
            saves = f", saves ~{seconds(cause.impact / max(1, cause.main.windows))} each time" if cause.impact else ""
            head = f"{label(finding)}: {finding_text.title(finding)}"
            lines.append(f"* {markdown.code(finding.id)} {markdown.escaped(head)} ({finding.severity}{saves}){where}")
        return "\n".join(lines)

    def finding(self, identity: str) -> str:
        """One finding with its evidence, what to change, and the code around its line.

        Raises:
            AgentError: There is no such finding.
        """
        for cause in causes(self._snapshot().findings):
            if identity in {each.finding.id for each in cause.all}:
                finding = cause.main.finding
                head = f"# {markdown.escaped(f'{label(finding)}: {finding_text.title(finding)}')}"
                return "\n".join([head, "", *markdown.about(finding, cause)]) + self._code(finding.call_site)
        raise AgentError(f"no finding has the id {identity}; list_findings shows which there are")

    def queries(self) -> str:
        """The queries with the most time, as a table."""
        return markdown.render(self._snapshot()).rpartition("\n\n")[2] or "No queries were captured."

    def compare(self, base: str = "") -> str:
        """What changed since a base run, or since the run before.

        Args:
            base: Path of a saved run below the project directory; empty for the run before the latest ``run_command``.

        Raises:
            AgentError: There is nothing to compare with.
        """
        earlier = self._read(base) if base else self._previous
        if earlier is None:
            raise AgentError("there is no earlier run: name a saved run, or run the command twice")
        found = compare_runs(earlier, self._snapshot())
        lines = [f"Compared with the earlier run: **{verdict(found)}**.", ""]
        lines += [f"* gone: {markdown.escaped(line)}" for line in told(found.gone)]
        lines += [f"* new: {markdown.escaped(line)}" for line in told(found.new)]
        lines += [
            f"* {markdown.escaped(each.route)}: {each.base:.4g} → {each.head:.4g} queries per request"
            for each in found.routes
        ]
        for change in found.changes:
            if change.verdict != "no difference":
                before = f"{seconds(change.base_mean)} × {change.base_count}"
                after = f"{seconds(change.head_mean)} × {change.head_count}"
                lines.append(f"* {change.verdict}: {markdown.escaped(change.name)}: {before} → {after}")
        return "\n".join(lines)

    def run(self, command: Sequence[str]) -> str:
        """Run a command instrumented in the project directory; it becomes the latest run.

        Raises:
            AgentError: The command is empty, or wrote no report.
        """
        if not command:
            raise AgentError("the command is empty")
        with tempfile.TemporaryDirectory(prefix="dbsight-mcp-") as directory:
            path = Path(directory) / "run.json"
            environ = {
                **config.environment(),
                "OTEL_DBSIGHT_REPORT": "json",
                "OTEL_DBSIGHT_REPORT_FILE": str(path),
            }
            for signal in ("TRACES", "METRICS", "LOGS"):
                environ.setdefault(f"OTEL_{signal}_EXPORTER", "none")
            # Standard input and output belong to the protocol.
            code = instrumented(tuple(command), environ, sys.stderr.fileno(), quiet=True, directory=self._directory)
            if not path.exists():
                raise AgentError(f"the command ended with exit code {code} and wrote no report")
            latest = saved.read(path)
        self._previous = self._known()
        self._latest = latest
        return f"The command ended with exit code {code}.\n\n{self.findings()}"

    # -- Sources ------------------------------------------------------------------------------------------------------

    def _known(self) -> Snapshot | None:
        try:
            return self._snapshot()
        except AgentError:
            return None

    def _snapshot(self) -> Snapshot:
        if self._latest is not None:
            return self._latest
        if self._port is not None:
            try:
                return read_live(self._port)
            except UsageFault as error:
                raise AgentError(error.message) from error
        if not self._runs:
            raise AgentError("there is no run yet: use run_command, or start the server with a saved run")
        return merged([self._read(str(each)) for each in self._runs])

    def _read(self, name: str) -> Snapshot:
        path = self._inside(name)
        if path is None:
            raise AgentError(f"{name} is not below the project directory")
        try:
            return saved.read(path)
        except OSError as error:
            raise AgentError(f"{name} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AgentError(f"{name} is not a dbsight report") from error

    def _inside(self, name: str) -> Path | None:
        """A path below the project directory, None for one elsewhere, whatever links lead there."""
        path = (self._directory / name).resolve()
        return path if path.is_relative_to(self._directory) else None

    def _code(self, site: CallSite | None) -> str:
        """Lines around a finding. A saved run may name any file: only Python files of the project are read."""
        path = self._inside(site.file) if site is not None else None
        if site is None or path is None or path.suffix != ".py":
            return ""
        try:
            if path.stat().st_size > _LARGEST:
                return ""
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        first = max(1, site.line - _AROUND)
        shown = [
            f"{'>' if number == site.line else ' '} {number:>4}  {line}"
            for number, line in enumerate(lines[first - 1 : site.line + _AROUND], first)
        ]
        return "\n".join(["", "", f"{markdown.code(str(site))}:", "", *markdown.block("\n".join(shown)), ""])


def tools(project: Project, *, allow_run: bool) -> dict[str, Any]:
    """The functions that are offered, by name; their docstrings tell agents what they do."""

    def list_findings() -> str:
        """List database performance findings (N+1 queries, slow queries, missing indexes …), most time saved first."""
        return project.findings()

    def show_finding(finding_id: str) -> str:
        """Show one finding: description, fix, SQL without values, query plan, and the code around its line."""
        return project.finding(finding_id)

    def list_queries() -> str:
        """List the queries with the most time in the database."""
        return project.queries()

    def compare_runs(base: str = "") -> str:
        """Compare the current run with the one before, or with the saved run at the path `base`."""
        return project.compare(base)

    def run_command(command: list[str]) -> str:
        """Run a command of the project instrumented, such as ["pytest", "-q"], and list its findings."""
        return project.run(command)

    offered = [list_findings, show_finding, list_queries, compare_runs, *([run_command] if allow_run else [])]
    return {each.__name__: each for each in offered}
