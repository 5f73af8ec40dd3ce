"""The metadata of this package, as OpenTelemetry's loader asks for it.

For each instrumentor the loader asks twice what its package requires, and Python answers each time by parsing all of
the package's metadata, of which the README is a part: 1 ms each, 32 times at every start.
"""

from __future__ import annotations

from importlib.metadata import PathDistribution
from typing import TYPE_CHECKING, Final

from opentelemetry.util._importlib_metadata import entry_points

from dbsight.catalog import INSTRUMENTORS
from dbsight.safety import guard

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_GROUP: Final = "opentelemetry_instrumentor"


class _ReadOnce(PathDistribution):
    """An installed package whose requirements are parsed once."""

    _required: list[str] | None

    @property
    def requires(self) -> list[str] | None:
        if "_required" not in self.__dict__:
            self._required = super().requires
        return self._required and list(self._required)


@guard
def read_once() -> None:
    """Parse the requirements of this package once, whoever asks for them through its instrumentors' entry points."""
    for entry_point in entry_points(group=_GROUP):
        if entry_point.name in INSTRUMENTORS:
            _remember(entry_point)


def _remember(entry_point: EntryPoint) -> None:
    distribution = getattr(entry_point, "dist", None)
    # Another loader's class, or an entry point without its package, stays as it is.
    if type(distribution) is PathDistribution:
        distribution.__class__ = _ReadOnce
