"""Programs run by the tests see nothing of the developer's environment, and end."""

import sys

import pytest

from e2e import runner


def test_a_script_runs_in_its_own_directory(run_bare, tmp_path):
    """The text becomes ``app.py``, without its indentation; output and exit code are its own."""
    run = run_bare("""
        import os, sys
        print(__file__, os.getcwd())
        print("oh", file=sys.stderr)
        sys.exit(3)
    """)
    assert (run.returncode, run.stdout, run.stderr) == (3, f"{tmp_path}/app.py {tmp_path}\n", "oh\n")
    assert 0 < run.seconds < 60


def test_no_setting_of_the_developer_reaches_a_program(run_bare, monkeypatch):
    """Settings of ours, of OpenTelemetry, of Python and of servers stay outside."""
    for name in ("OTEL_DBSIGHT_ENABLED", "OTEL_TRACES_EXPORTER", "PYTHONWARNINGS", "PGPORT", "CI", "NO_COLOR"):
        monkeypatch.setenv(name, "1")
    run = run_bare("import os; print(*sorted(os.environ))", env={"OTEL_LOG_LEVEL": "debug"})
    left = set(run.stdout.split()) - set(runner.KEPT)
    assert left == {"LANG", "OTEL_LOG_LEVEL", "PYTHONHASHSEED", "PYTHONPYCACHEPREFIX", "TZ", *runner.LEFT_OUT}


def test_a_program_that_hangs_is_killed_with_its_children(run_bare):
    """What it said before is in the message."""
    script = """
        import subprocess, sys
        print("working", flush=True)
        subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"])
    """
    with pytest.raises(AssertionError, match=r"did not end within 1 s\nworking"):
        run_bare(script, timeout=1)


def test_a_program_that_fails_says_why(run_bare):
    """``check()`` shows exit code and output."""
    with pytest.raises(AssertionError, match=r"(?s)exit code 1.*ZeroDivisionError"):
        run_bare("1 / 0").check()


def test_opentelemetry_instrument_is_the_one_beside_the_interpreter():
    """The interpreter under test is instrumented by its own installation."""
    (command,) = runner.located(["opentelemetry-instrument"], sys.executable)
    assert command.startswith(sys.prefix)
