"""The version matrix: every supported Python with every supported SQLAlchemy, and the oldest of everything.

nox                           # all that this machine has interpreters for
nox -s ends                   # the two ends, as continuous integration runs them
nox -s matrix                 # SQLAlchemy 1.4, other distributions, servers, frameworks
nox -s "tests-3.12(sqlalchemy='2.0')" -- tests/integration -k pool
"""

from __future__ import annotations

from pathlib import Path

import nox
from packaging.requirements import Requirement

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests", "oldest"]

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
SQLALCHEMYS = ["2.0", "2.1"]


def run(session: nox.Session, *constraints: str) -> None:
    """Install the package with its tests' needs under ``constraints``, and run the tests."""
    file = Path(session.create_tmp()) / "constraints.txt"
    file.write_text("\n".join(constraints) + "\n")
    session.install("--quiet", "--editable", ".[test]", "--constraint", str(file))
    # tests/matrix builds environments of its own, whatever runs it: once is enough.
    pytest = ("python", "-m", "pytest", "-p", "no:cacheprovider", "--ignore=tests/matrix")
    if any(word.startswith(("-n", "--numprocesses")) for word in session.posargs):
        # The workers start together: each would compile what all of them import.
        tests = [word for word in session.posargs if Path(word).exists()]
        session.run(*pytest, "--collect-only", "-qq", *tests, silent=True)
    session.run(*pytest, *session.posargs)


def lowest(python: str) -> list[str]:
    """Each lower bound of ``pyproject.toml`` that holds on this Python, as the only version allowed.

    A bound of ``2.0.5`` or ``0.62b0`` is that release, one of ``2.0`` the newest bug fix of it: what has been fixed in
    between is not ours to test.
    """
    project = nox.project.load_toml("pyproject.toml")["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    constraints = []
    for requirement in map(Requirement, wanted):
        holds = requirement.marker is None or requirement.marker.evaluate({"python_version": python})
        bounds = [one.version for one in requirement.specifier if one.operator == ">="]
        if holds and bounds:
            version = bounds[0]
            exact = version.count(".") > 1 or not version.replace(".", "").isdigit()
            padded = version if "." in version else f"{version}.0"
            constraints.append(f"{requirement.name}=={version if exact else padded + '.*'}")
    return constraints


@nox.session(python=PYTHONS)
@nox.parametrize("sqlalchemy", SQLALCHEMYS)
def tests(session: nox.Session, sqlalchemy: str) -> None:
    """The tests with the newest of everything but SQLAlchemy."""
    run(session, f"sqlalchemy=={sqlalchemy}.*")


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """The tests on the oldest Python with the oldest of everything."""
    run(session, *lowest(PYTHONS[0]))


@nox.session(python=PYTHONS[1:2])
def matrix(session: nox.Session) -> None:
    """The matrix of versions, distributions, servers and frameworks; its environments are kept in ``~/.cache``."""
    session.install("--quiet", "--editable", ".[test]")
    session.run("python", "-m", "pytest", "-p", "no:cacheprovider", "tests/matrix", *session.posargs)


@nox.session(python=False, default=False)
def ends(session: nox.Session) -> None:
    """The two ends of the matrix: the oldest of everything, and the newest Python with the newest of everything."""
    session.notify("oldest", session.posargs)
    session.notify(f"tests-{PYTHONS[-1]}(sqlalchemy='{SQLALCHEMYS[-1]}')", session.posargs)
