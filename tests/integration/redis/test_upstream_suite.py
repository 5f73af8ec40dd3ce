"""redis-py's own tests of commands and pipelines, sync and async, with everything switched on."""

import contextlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NEEDS = ("pytest-asyncio", "pytest-timeout")
SUITES = {
    "sync": ("tests/test_commands.py", "tests/test_pipeline.py"),
    "async": ("tests/test_asyncio/test_commands.py", "tests/test_asyncio/test_pipeline.py"),
}


def pip(*arguments):
    """Run pip; its complaint when it fails."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return done.stderr if done.returncode else ""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    """Source of the installed release, and a folder with what its tests import."""
    directory = tmp_path_factory.mktemp("redis-py")
    version = importlib.metadata.version("redis")
    complaint = pip("download", "--no-deps", "--no-binary", "redis", f"redis=={version}", "--dest", str(directory))
    complaint = complaint or pip("install", "--target", str(directory / "needs"), *NEEDS)
    if complaint:
        if os.environ.get("CI") == "true":
            pytest.fail(f"redis-py's own tests cannot be had: {complaint}", pytrace=False)
        pytest.skip(f"redis-py's own tests cannot be had: {complaint}")
    with contextlib.closing(tarfile.open(next(directory.glob("redis-*.tar.gz")))) as archive:
        archive.extractall(directory, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(
            directory
        )
    return directory / f"redis-{version}", directory / "needs"


def run(folder, environment, *arguments):
    """Run the suite; its output, and the tests that failed."""
    # To rewrite the assertions of files of 7 000 lines, and to find lines of theirs for tracebacks, takes most of it.
    options = ("-q", "--timeout=60", "--tb=native", "--assert=plain")
    command = [sys.executable, "-m", "pytest", *options, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return done.stdout[-6000:] + done.stderr[-2000:], sorted(failed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SUITES)
def test_the_tests_of_redis_py_pass_with_a_span_for_everything_sent(upstream, redis_server, tmp_path, kind):
    """Commands and pipelines sent are as many as spans, test by test; what fails here fails without us, too.

    A few of them need a newer server, or a replica beside it.
    """
    source, needs = upstream
    result = tmp_path / "result.json"
    # The sources hold redis-py, too: its tests alone are taken, beside the one that is installed.
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "tests").symlink_to(source / "tests")
    (suite / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = ignore\n"
        "markers =\n" + "".join(f"    {line}\n" for line in _markers(source)),
        encoding="utf-8",
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "PYTHONPATH": os.pathsep.join([str(HERE), str(needs), str(suite)]),
        "DBSIGHT_UPSTREAM_RESULT": str(result),
    }
    url = f"--redis-url=redis://{redis_server.host}:{redis_server.port}/9"
    chosen = ("-m", "not onlycluster and not redismod and not ssl")
    output, failed = run(suite, environment, "-p", "upstream_plugin", url, *SUITES[kind], *chosen)
    told = json.loads(result.read_text(encoding="utf-8"))
    if failed:
        _, plain = run(suite, environment, url, *failed)
        assert failed == plain, output
    assert len(failed) < 10, output
    assert told["tests"] > 200
    assert told["spans"] == told["sent"] > 500
    assert told["swallowed"] == {}


def _markers(source):
    """The markers that the suite declares."""
    lines = (source / "pyproject.toml").read_text(encoding="utf-8").partition("markers = [")[2].partition("\n]")[0]
    return [line.strip().strip('",') for line in lines.splitlines() if line.strip()]
