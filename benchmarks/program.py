"""What a workload is to the process that measures it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Program:
    """A workload, ready to run: ``run(requests)`` and ``close()``."""

    run: Callable[[int], None]
    close: Callable[[], None]
