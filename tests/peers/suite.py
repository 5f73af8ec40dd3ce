"""What is known of a suite that is run without and with dbsight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from matrix.environments import RUNNING
from peers import sources

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Suite:
    """A library's own tests, taken from its source distribution.

    In ``arguments``, ``environment`` and ``files``, ``{host}``, ``{port}``, ``{user}``, ``{password}``, ``{name}``,
    ``{auth}`` (user and password as in a URL) and ``{socket}`` (of MariaDB) are those of the server's database.

    Attributes:
        name: By which it is selected, and which the lists of results use.
        package: The library, as it is called by its registry.
        version: Of both the installed release and the source distribution.
        paths: What is run by default, below the source distribution.
        full: What is run with ``--full``; the same by default.
        quick: Further arguments of pytest without ``--full``.
        needs: Further requirements.
        arguments: Further arguments of pytest.
        environment: Further variables.
        server: ``postgresql``, ``mariadb`` or ``redis``, or empty.
        extensions: Whether PostgreSQL must come with the extension citext.
        prepare: Statements for the new database, before the tests.
        files: Texts of files that the tests read, by their names in the source distribution; braces are doubled.
        debian: Source package of Debian's, where the source distribution comes without tests: ``name=1.0-1``, and the
            release that has it.
        shadows: Directories of the source distribution that would be imported instead of the installed package.
        sources: Directories of the source distribution that are imported instead of the installed package.
        python: Version of the interpreter; the one that runs ``make peers`` by default.
        program: Module of ``plugin/`` that runs the tests in place of pytest; ``paths`` and ``arguments`` are its own.
        inside: Directory of the source distribution that it is started in; its top by default.
        calls: Whether it talks to a database or Redis in the test's process, so that operations must be seen.
        ci: Whether continuous integration runs it.
        what: What of the library that is, for the documentation.
    """

    name: str
    package: str
    version: str
    paths: tuple[str, ...] = ("tests",)
    full: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    server: str = ""
    extensions: bool = False
    prepare: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    debian: tuple[str, str] | None = None
    shadows: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    python: str = RUNNING
    program: str = ""
    inside: str = ""
    calls: bool = True
    ci: bool = False
    what: str = "everything"

    @property
    def requirements(self) -> tuple[str, ...]:
        """What is installed beside dbsight."""
        wanted = (f"{self.package}=={self.version}", *self.needs)
        return wanted if self.program or "pytest" in str(self.needs) else (*wanted, "pytest")

    def archive(self) -> Path:
        """What its tests are unpacked from.

        Raises:
            Missing: It cannot be had.
        """
        return sources.debian_archive(*self.debian) if self.debian else sources.archive(self.package, self.version)
