"""``%load_ext dbsight`` in a notebook or in IPython: ``%%dbsight`` profiles the queries of one cell."""

from __future__ import annotations

from typing import Any

from dbsight.profiler import QueryProfiler, profile


def load_ipython_extension(shell: Any) -> None:
    """Register the magic; called by ``%load_ext dbsight``.

    Args:
        shell: IPython's ``InteractiveShell``.
    """

    def dbsight(line: str, cell: str) -> QueryProfiler | None:
        """Run the cell and show its queries: ``%%dbsight``; with ``analyze`` behind it, the findings, too."""
        with profile(analyze=line.strip() == "analyze") as profiled:
            result = shell.run_cell(cell)
        return profiled if result.success else None  # its traceback has been shown

    shell.register_magic_function(dbsight, "cell", "dbsight")
