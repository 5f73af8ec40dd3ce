"""Source distributions, fetched once and kept from one run to the next."""

from __future__ import annotations

import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.environments import CACHE, Missing, run

if TYPE_CHECKING:
    from collections.abc import Sequence

KEPT = CACHE.parent / "sources"


def archive(package: str, version: str) -> Path:
    """The source distribution of a release.

    Raises:
        Missing: It cannot be had.
    """
    directory = KEPT / f"{package}-{version}"
    found = sorted(directory.glob("*.tar.gz"))
    if not found:
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as fresh:
            options = ("--quiet", "--no-deps", "--no-binary", package, "--dest", fresh)
            run(sys.executable, "-m", "pip", "download", *options, f"{package}=={version}")
            directory.mkdir(exist_ok=True)
            for path in Path(fresh).glob("*.tar.gz"):
                shutil.move(path, directory / path.name)
        found = sorted(directory.glob("*.tar.gz"))
    if not found:
        raise Missing(f"{package} {version} has no source distribution")
    return found[0]


def unpack(package: str, version: str, directory: Path, without: Sequence[str]) -> Path:
    """A fresh copy of a source distribution below ``directory``, but for some of its top directories.

    Raises:
        Missing: It cannot be had.
    """
    with tarfile.open(archive(package, version)) as packed:
        packed.extractall(directory, filter="data")
    top = next(directory.iterdir())
    for name in without:
        shutil.rmtree(top / name, ignore_errors=True)
    return top
