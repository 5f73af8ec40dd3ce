"""How people read numbers: times with units, thousands apart, plurals."""

from __future__ import annotations

TIMES = "\N{MULTIPLICATION SIGN}"
"""Multiplication sign, as in ``200 × SELECT orders``."""

_UNITS = ((60.0, 60.0, "min"), (1.0, 1.0, "s"), (1e-3, 1e-3, "ms"), (0.0, 1e-6, "µs"))
"""From how many seconds on, seconds of one, name."""


def seconds(value: float, *, gap: str = " ", exact: bool = False) -> str:
    """Write a time with its unit: ``612 ms``, ``5.02 s``, ``2.90 ms``, ``1 240 min``.

    Args:
        value: s; what is not above zero is ``0 s``.
        gap: Between number and unit.
        exact: The value is a configured limit, not a measurement: trailing zeros are dropped, ``5 s``.

    Returns:
        Three significant digits in µs, ms, s or min.
    """
    if not value > 0:
        return f"0{gap}s"
    rounded = float(f"{value:.3g}")  # before the unit is chosen: 999.7 µs is 1.00 ms
    unit, name = next((unit, name) for least, unit, name in _UNITS if rounded >= least)
    number = float(f"{value / unit:.3g}")  # from the value itself: rounding twice would lose a digit in minutes
    if exact:
        written = f"{number:.3g}" if number < 1000 else count(number)
    elif number < 10:
        written = f"{number:.2f}"
    elif number < 100:
        written = f"{number:.1f}"
    else:
        written = count(number)
    return f"{written}{gap}{name}"


def count(value: float) -> str:
    """Write a whole number with its thousands apart: ``1 486``."""
    return f"{value:,.0f}".replace(",", " ")


def counted(value: int, one: str, many: str = "") -> str:
    """Write a number of things: ``1 query``, ``1 486 queries``.

    Args:
        value: How many.
        one: The word for one of them.
        many: The word for more; by default ``one`` with an s.
    """
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def mean(total: float, number: int) -> str:
    """Write an average: whole where it is whole or large, else with one decimal."""
    if not number:
        return "0"
    value = total / number
    return count(value) if value >= 100 or value == int(value) else f"{value:.1f}"


def size(value: float) -> str:
    """Write a number of bytes with its unit: ``512 bytes``, ``64 KiB``, ``2.1 MiB``."""
    if value < 1024:
        return f"{count(value)} bytes"
    if value < 1024 * 1024:
        return f"{count(value / 1024)} KiB"
    return f"{value / 1024 / 1024:.1f} MiB"
