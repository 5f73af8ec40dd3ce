"""``python -m dbsight.testing``: as ``python -m unittest``, with a summary of the queries."""

import unittest

from dbsight.testing.runners import WatchedRunner
from dbsight.testing.watch import prepare

prepare()
unittest.main(module=None, testRunner=WatchedRunner)
