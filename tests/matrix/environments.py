"""Virtual environments of other versions and other distributions, built once and kept from one run to the next.

They lie under ``~/.cache/dbsight-tests`` (or ``DBSIGHT_TEST_CACHE``), named by what is in them; dbsight itself is
installed there from this tree, editable.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Sequence

PROJECT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("DBSIGHT_TEST_CACHE") or Path.home() / ".cache" / "dbsight-tests") / "environments"
RUNNING = f"{sys.version_info[0]}.{sys.version_info[1]}"


class Missing(Exception):  # noqa: N818 - a fact about the machine, not an error of the tests
    """Such an environment cannot be had on this machine; the message says why."""


@dataclass(frozen=True)
class Environment:
    """What is installed beside dbsight and what it needs.

    Attributes:
        packages: Requirements; the newest releases that agree are taken.
        python: Version of the interpreter; the one that runs the tests by default.
        dbsight: Whether it is installed.
        resolution: ``highest``, or ``lowest-direct`` for the oldest releases that dbsight says it works with.
    """

    packages: tuple[str, ...]
    python: str = RUNNING
    dbsight: bool = True
    resolution: str = "highest"

    def build(self) -> Path:
        """The interpreter of this environment, which is built when it is not there yet.

        Raises:
            Missing: No such interpreter is installed, or the packages cannot be had.
        """
        interpreter = found(self.python)
        needed = (*(dependencies() if self.dbsight else ()), *self.packages)
        described = repr((str(interpreter), interpreter.stat().st_mtime, sorted(needed), self.resolution))
        directory = CACHE / hashlib.sha256(described.encode()).hexdigest()[:16]
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            python = directory / "venv" / "bin" / "python"
            if not (directory / "complete").exists():
                shutil.rmtree(directory / "venv", ignore_errors=True)
                self._install(interpreter, python, needed)
                (directory / "complete").write_text("\n".join(needed))
            if self.dbsight:
                self._install_ours(python, directory / "dbsight")
        return python

    def _install(self, interpreter: Path, python: Path, needed: Sequence[str]) -> None:
        installer = uv()
        if installer:
            run(installer, "venv", "--quiet", "--no-project", "--python", interpreter, python.parents[1])
            command = [installer, "pip", "install", "--quiet", "--python", python, f"--resolution={self.resolution}"]
        elif self.resolution == "highest":
            run(interpreter, "-m", "venv", python.parents[1])
            command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        else:
            raise Missing("the oldest releases are found by uv, which is not installed")
        run(*command, *needed)

    def _install_ours(self, python: Path, stamp: Path) -> None:
        """Editable: only what ``pyproject.toml`` says of it, its entry points for instance, is ever installed anew."""
        about = hashlib.sha256((PROJECT / "pyproject.toml").read_bytes() + str(PROJECT).encode()).hexdigest()
        if stamp.exists() and stamp.read_text() == about:
            return
        installer = uv()
        if installer:
            run(installer, "pip", "install", "--quiet", "--python", python, "--no-deps", "--editable", PROJECT)
        else:
            run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--editable", PROJECT)
        stamp.write_text(about)


def dependencies() -> tuple[str, ...]:
    """What dbsight needs, by ``pyproject.toml``."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return tuple(project["dependencies"])


def found(version: str) -> Path:
    """An interpreter of this version: the one that runs, pyenv's, or one on the search path.

    Raises:
        Missing: There is none that runs.
    """
    if version == RUNNING:
        return Path(sys.executable).resolve()
    candidates = [*sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}"), reverse=True)]
    on_path = shutil.which(f"python{version}")
    for candidate in (*candidates, *([Path(on_path)] if on_path else ())):
        # pyenv's stand-ins answer to every version and run none that is not selected.
        if subprocess.run([candidate, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return candidate.resolve()
    raise Missing(f"no Python {version} here")


def uv() -> str | None:
    """Where uv is: beside this interpreter or on the search path."""
    beside = Path(sys.executable).parent / "uv"
    return str(beside) if beside.exists() else shutil.which("uv")


def run(*command: object) -> None:
    """Run an installer.

    Raises:
        Missing: It failed; the message ends as its own does.
    """
    completed = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if completed.returncode:
        raise Missing(f"{' '.join(map(str, command[1:4]))} failed: {completed.stderr.strip()[-2000:]}")
