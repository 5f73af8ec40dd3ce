"""The import law: no import runs upward or sideways."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "dbsight"

LAYERS = (
    ("semconv", "version"),
    ("model",),
    ("config", "safety", "formatting", "catalog"),
    ("statement", "scope"),
    ("recording",),
    ("span", "export"),
    ("instrument", "detect", "plans", "monitor", "report"),
    ("slow_plans", "totals", "serve"),
    ("analyzer",),
    ("engines",),
    ("processor",),
    ("exit_report", "sigterm", "worker_exit"),
    ("distro",),
    ("budgets", "facade", "health", "redis_pools", "profiler", "toolbar"),
    ("bench", "notebook", "testing"),
    ("pytest_plugin", "cli"),
)
RANK = {room: rank for rank, layer in enumerate(LAYERS) for room in layer}
OUTSIDE = {"demo"}  # a user of the package root, like any other
ROOT = {"__init__", "__main__"}


def room_of(path: Path) -> str:
    """The room that a file belongs to: the first part of its path below the package."""
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    """Every module of dbsight that a file imports anywhere, with the line: late and type-checking imports included."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            if node.module == "dbsight":
                found += [(node.lineno, f"dbsight.{alias.name}") for alias in node.names]
            elif node.module:
                found.append((node.lineno, node.module))
    return [(line, name) for line, name in found if name == "dbsight" or name.startswith("dbsight.")]


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda path: str(path.relative_to(SRC)))
def test_no_import_runs_upward_or_sideways(path):
    """A room imports only rooms below it, and itself."""
    room = room_of(path)
    if room in OUTSIDE:
        assert all(
            name == "dbsight" or name.startswith("dbsight.demo") or name.count(".") == 1 for _, name in imports(path)
        )
        return
    if room in ROOT:
        return  # names only; test_public_face covers it
    assert room in RANK, f"{room} has no place in the import law"
    for line, name in imports(path):
        other = name.split(".")[1] if "." in name else "__init__"
        assert other in RANK, f"{path}:{line} imports {name}, which is no room below"
        assert RANK[other] < RANK[room] or other == room, f"{path}:{line} imports {name}: upward or sideways"
