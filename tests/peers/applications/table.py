"""The public applications and libraries that dbsight is run with, read from the headers of their workloads.

Each workload is a script with inline metadata, so that it also runs by ``uv run``: ``dependencies`` are the packages,
``[tool.application]`` says what it is.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
HEADER = re.compile(r"^# /// script\n((?:#.*\n)+?)# ///$", re.MULTILINE)
BESIDE = (
    "opentelemetry-instrumentation-redis >=0.63b0",
    "opentelemetry-instrumentation-sqlalchemy >=0.63b0",
    "opentelemetry-instrumentation-sqlite3 >=0.63b0",
)
"""Other instrumentations of the same calls, which must not make spans beside ours."""


@dataclass(frozen=True)
class Application:
    """A public application or library, and what is done with it.

    Attributes:
        name: Of the workload's file.
        about: What it is, in a few words.
        packages: Requirements of the workload.
        redis: Whether it needs a Redis server; its URL is in ``REDIS_URL``.
        asynchronous: Whether it works on an event loop.
        ci: Whether every change is tested with it.
        unseen: Redis commands that it sends past redis-py's methods, so that no instrumentation sees them.
    """

    name: str
    about: str
    packages: tuple[str, ...]
    redis: bool
    asynchronous: bool
    ci: bool
    unseen: frozenset[str]

    @property
    def workload(self) -> Path:
        """The script."""
        return HERE / "workloads" / f"{self.name}.py"


def application(script: Path) -> Application:
    """What the header of a workload says."""
    header = HEADER.search(script.read_text(encoding="utf-8"))
    assert header, f"{script.name} has no header"
    said = tomllib.loads("\n".join(line.lstrip("#") for line in header[1].splitlines()))
    about = said["tool"]["application"]
    return Application(
        name=script.stem,
        about=about["about"],
        packages=tuple(said["dependencies"]),
        redis=about.get("redis", False),
        asynchronous=about.get("asynchronous", False),
        ci=about.get("ci", False),
        unseen=frozenset(about.get("unseen", ())),
    )


APPLICATIONS = tuple(application(script) for script in sorted((HERE / "workloads").glob("*.py")))
