"""How many examples a property is tried with."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

SHARE = int(os.environ.get("DBSIGHT_TEST_EXAMPLES", "100"))
"""Percent of all that are tried: fewer are enough where another run of the same tests tries all of them."""


def examples(number: int = 100, **more: Any) -> settings:
    """The settings of a property; how long an example takes says nothing, machines that run the tests are shared."""
    return settings(max_examples=max(1, number * SHARE // 100), deadline=None, **more)
