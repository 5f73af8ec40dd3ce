"""Waiting for what another thread or process does."""

import time


def until(condition, seconds=60.0):
    """Wait until a condition holds, and return its value; fails when it does not hold in time."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.005)
    return value
