"""How much a repetition matters: the numbers that several rules share."""

from __future__ import annotations

from typing import Final

MANY: Final = 10
"""Number of executions from which a repetition can be an error."""

SEVERAL: Final = 3
"""Different parameters from which executions are a loop over something, and not one or two that alternate."""

MATTERS: Final = 0.1
"""s; in total, from which it matters whatever the unit of work takes."""

_MATTERS_PART: Final = 5  # a fifth of the unit of work: multiplied, because 0.2 is not a binary fraction
_FEW: Final = 20
_LITTLE: Final = 0.025  # s
_LITTLE_PART: Final = 200  # 0.5 %


def matters(total: float, window: float) -> bool:
    """Return whether it takes 100 ms, or 20 % of its unit of work.

    Args:
        total: s; of all executions.
        window: s; of the unit of work, 0 when unknown.
    """
    return total >= MATTERS or total * _MATTERS_PART >= window > 0


def is_negligible(count: int, total: float, window: float) -> bool:
    """Return whether it is at most info: fewer than 20, less than 25 ms and less than 0.5 % of the unit of work."""
    return count < _FEW and total < _LITTLE and total * _LITTLE_PART < window
