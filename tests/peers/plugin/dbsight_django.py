"""Django's own suite, whose program is no pytest: ``python -m dbsight_django [labels]`` among its tests.

What ``dbsight_peers`` does to a session of pytest is done to its runner: everything of dbsight is on, each result is
written down. Also the settings that the runner is told to take.
"""

import os
import runpy
import sys
import unittest
from pathlib import Path

from dbsight_peers import Recorder


def _database(name):
    host = os.environ.get("DBSIGHT_PEERS_HOST")
    if not host:
        return {"ENGINE": "django.db.backends.sqlite3"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": os.environ["DBSIGHT_PEERS_USER"],
        "PASSWORD": os.environ["DBSIGHT_PEERS_PASSWORD"],
        "HOST": host,
        "PORT": os.environ["DBSIGHT_PEERS_PORT"],
    }


DATABASES = {"default": _database("peers"), "other": _database("peers_other")}
SECRET_KEY = "not a secret"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
TEST_RUNNER = "dbsight_django.runner"


class Result(unittest.TextTestResult):
    """Tells a recorder of each test."""

    recorder = Recorder()

    def addSuccess(self, test):  # noqa: N802
        super().addSuccess(test)
        self.recorder.note(test.id(), "passed", "")

    def addError(self, test, err):  # noqa: N802
        super().addError(test, err)
        self.recorder.note(test.id(), "failed", self._exc_info_to_string(err, test))

    def addFailure(self, test, err):  # noqa: N802
        super().addFailure(test, err)
        self.recorder.note(test.id(), "failed", self._exc_info_to_string(err, test))

    def addSubTest(self, test, subtest, err):  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.recorder.note(test.id(), "failed", self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):  # noqa: N802
        super().addSkip(test, reason)
        self.recorder.note(test.id(), "skipped", reason)

    def addExpectedFailure(self, test, err):  # noqa: N802
        super().addExpectedFailure(test, err)
        self.recorder.note(test.id(), "xfailed", "")

    def addUnexpectedSuccess(self, test):  # noqa: N802
        super().addUnexpectedSuccess(test)
        self.recorder.note(test.id(), "failed", "unexpected success")


def runner(*args, **options):
    """Django's runner with such results; made when it is asked for, once Django can be imported."""
    from django.test.runner import DiscoverRunner

    made = DiscoverRunner(*args, **options)
    made.get_resultclass = lambda: Result
    return made


runner.parallel_test_suite = unittest.TestSuite  # the program wants to set attributes of it


def main():
    """Run it, and write the results down, whether tests failed or not."""
    # Settings and runner are this module, under the name that Django imports it by.
    import dbsight_django

    sys.path.insert(0, str(Path.cwd()))
    sys.argv = ["runtests.py", "--settings=dbsight_django", "--parallel=1", "--noinput", "-v0", *sys.argv[1:]]
    try:
        runpy.run_path("runtests.py", run_name="__main__")
    finally:
        dbsight_django.Result.recorder.write()


if __name__ == "__main__":
    main()
