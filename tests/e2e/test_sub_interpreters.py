"""A sub-interpreter in a process that is watched: nothing is started in it, and nothing of it suffers."""

import sys

import pytest

from e2e.programs import LOOP, SHOP

BESIDE = f"""
import sys

if sys.version_info >= (3, 13):
    import _interpreters as interpreters

    sub = interpreters.create(sys.argv[1])
else:
    import _xxsubinterpreters as interpreters

    sub = interpreters.create(isolated=sys.argv[1] == "isolated")
interpreters.run_string(sub, "print('beside', flush=True)")
interpreters.destroy(sub)
{LOOP}
"""
"""OpenTelemetry's loader runs in each interpreter that begins."""


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="the module for sub-interpreters is another one there")
@pytest.mark.parametrize(
    "kind",
    [
        "legacy",
        pytest.param(
            "isolated",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 13), reason="OpenTelemetry's SDK itself cannot be imported in such a one"
            ),
        ),
    ],
)
def test_a_sub_interpreter_is_left_alone(kind, observe, sqlite_url, tmp_path):
    """With SDK threads in it, the process would be aborted as it ends; the main interpreter is watched as ever."""
    (tmp_path / "app.py").write_text(BESIDE.lstrip("\n"))
    seen = observe(["app.py", kind], cwd=tmp_path, env={**SHOP, "DATABASE_URL": sqlite_url}, protocol="http/protobuf")
    assert (seen.run.returncode, seen.run.stdout.splitlines()[0]) == (0, "beside")
    assert seen.run.stderr == "dbsight: sub-interpreters are not instrumented\n"
    assert seen.span("dbsight.window").attributes["dbsight.findings.rules"] == ["n_plus_one"]
    assert len(seen.queries()) == 6
