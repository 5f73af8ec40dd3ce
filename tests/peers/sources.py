"""Source distributions, fetched once and kept from one run to the next."""

from __future__ import annotations

import shutil
import subprocess
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
            # Its tests may run on another Python than this one.
            options = ("--quiet", "--no-deps", "--ignore-requires-python", "--no-binary", package, "--dest", fresh)
            run(sys.executable, "-m", "pip", "download", *options, f"{package}=={version}")
            directory.mkdir(exist_ok=True)
            for path in Path(fresh).glob("*.tar.gz"):
                shutil.move(path, directory / path.name)
        found = sorted(directory.glob("*.tar.gz"))
    if not found:
        raise Missing(f"{package} {version} has no source distribution")
    return found[0]


def debian_archive(package: str, release: str) -> Path:
    """What the authors published of a library, from the source package of a release of Debian.

    Args:
        package: Name and version of the source package, ``name=1.0-1``.
        release: Its code name.

    Raises:
        Missing: It cannot be had, for instance since this is no Debian.
    """
    directory = KEPT / f"debian-{package}"
    if not directory.exists():
        if not shutil.which("apt-get"):
            raise Missing(f"{package} is a source package of Debian, and here is no apt-get")
        own = KEPT / f"apt-{release}"
        for name in ("lists/partial", "cache/archives/partial"):
            (own / name).mkdir(parents=True, exist_ok=True)
        (own / "sources.list").write_text(f"deb-src {mirror()} {release} main\n")
        where = {
            "Dir::Etc::sourcelist": own / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": own / "lists",
            "Dir::Cache": own / "cache",
        }
        options = [f"-o{name}={value}" for name, value in where.items()]
        if not any((own / "lists").glob("*Sources*")):
            run("apt-get", *options, "--quiet", "update")
        with tempfile.TemporaryDirectory(dir=KEPT) as fresh:
            wanted = ("source", "--quiet", "--download-only", "--tar-only", package)
            run("env", f"--chdir={fresh}", "apt-get", *options, *wanted)
            shutil.copytree(fresh, directory)
    return next(directory.glob("*.orig.tar.*"))


def mirror() -> str:
    """Where this machine has its packages from.

    Raises:
        Missing: Not from Debian.
    """
    asked = ("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian")
    known = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    found = [uri for uri in known if not uri.rstrip("/").endswith("-security")]
    if not found:
        raise Missing("packages of this machine are not Debian's, or apt-get update was never run")
    return found[0]


def unpack(packed_in: Path, directory: Path, without: Sequence[str]) -> Path:
    """A fresh copy of an archive below ``directory``, but for some of its top directories."""
    with tarfile.open(packed_in) as packed:
        packed.extractall(directory, filter="data")
    top = next(directory.iterdir())
    for name in without:
        shutil.rmtree(top / name, ignore_errors=True)
    return top
