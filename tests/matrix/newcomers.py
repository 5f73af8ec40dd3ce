"""Virtual environments as a newcomer makes them: ``python -m venv``, the pip that it brings, one ``pip install``.

They are kept beside the other environments of ``matrix.environments``, named by interpreter, packages and what dbsight
requires; only dbsight's wheel, which is built from this tree, is installed again when it changes.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.environments import CACHE, PROJECT, dependencies, uv

if TYPE_CHECKING:
    from collections.abc import Sequence

QUIET = ("--quiet", "--disable-pip-version-check", "--no-input")


def installed(interpreter: Path, packages: Sequence[str]) -> Path:
    """The interpreter of an environment in which its own pip installed dbsight and these packages, in one command.

    Raises:
        AssertionError: pip found no solution or could not install it; the message ends as its own does.
    """
    directory = _directory(interpreter, "installed", packages)
    python = directory / "venv" / "bin" / "python"
    with _locked(directory):
        if not (directory / "complete").exists():
            _venv(interpreter, directory)
            pip(python, "install", "--no-compile", wheel(), *packages)
        elif (directory / "complete").read_text() != _digest(wheel()):
            pip(python, "install", "--no-compile", "--no-deps", "--force-reinstall", wheel())
        (directory / "complete").write_text(_digest(wheel()))
    return python


def resolved(interpreter: Path, pip_version: str, packages: Sequence[str]) -> None:
    """Let a release of pip look for versions of dbsight's dependencies and these packages that agree.

    Raises:
        AssertionError: It found none.
    """
    directory = _directory(interpreter, f"resolved by {pip_version}", packages)
    with _locked(directory):
        if not (directory / "complete").exists():
            shared = _directory(interpreter, f"pip {pip_version}", ())
            python = shared / "venv" / "bin" / "python"
            with _locked(shared):
                if not (shared / "complete").exists():
                    _venv(interpreter, shared)
                    pip(python, "install", f"pip=={pip_version}")
                    (shared / "complete").touch()
            pip(python, "install", "--dry-run", wheel(), *packages)
            (directory / "complete").touch()


def pip(python: Path, *arguments: object) -> None:
    """Run an environment's pip.

    Raises:
        AssertionError: It failed.
    """
    command = [str(word) for word in (python, "-m", "pip", *arguments[:1], *QUIET, *arguments[1:])]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, f"{' '.join(command[1:])}\n{completed.stderr.strip()[-2000:]}"


@functools.cache
def wheel() -> Path:
    """The wheel as it is published, built once from this tree."""
    directory = Path(tempfile.mkdtemp(prefix="dbsight-wheel-"))
    installer = uv()
    builder = [installer, "build", "--quiet"] if installer else [sys.executable, "-m", "pip", "wheel", "--no-deps"]
    target = ["--wheel", "--out-dir", directory] if installer else ["--wheel-dir", directory]
    subprocess.run([str(word) for word in (*builder, *target, PROJECT)], check=True, capture_output=True)
    (built,) = directory.glob("*.whl")
    return built


def _directory(interpreter: Path, purpose: str, packages: Sequence[str]) -> Path:
    described = repr((str(interpreter), interpreter.stat().st_mtime, purpose, sorted(packages), dependencies()))
    directory = CACHE / f"newcomer-{hashlib.sha256(described.encode()).hexdigest()[:16]}"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


class _locked:  # noqa: N801 - reads as the verb that it is
    """Exclusive use of a directory for the time of the block, among all processes."""

    def __init__(self, directory: Path) -> None:
        self._file = (directory / "lock").open("w")

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def _venv(interpreter: Path, directory: Path) -> None:
    shutil.rmtree(directory / "venv", ignore_errors=True)
    subprocess.run([str(interpreter), "-m", "venv", str(directory / "venv")], check=True, capture_output=True)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
