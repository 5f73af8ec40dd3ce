"""What was made before it was watched."""

from __future__ import annotations

import gc
from typing import Any


def existing(*classes: type, having: tuple[str, ...] = ()) -> list[Any]:
    """Find the objects of some classes, and of those derived from them, among all objects.

    By the identity of their types: ``isinstance`` would ask proxies for their class, which may do anything, and takes
    ten times as long where there are abstract ones.

    Args:
        classes: Of the objects.
        having: Attributes that each must have: one that another thread is just making does not have them yet, and is
            watched when it is first used.
    """
    if not classes:  # a library that is not imported: there may be a million objects to look at
        return []
    kinds = set[int]().union(*map(_kinds, classes))
    found = [each for each in gc.get_objects() if id(type(each)) in kinds]
    return [each for each in found if all(hasattr(each, name) for name in having)] if having else found


def _kinds(base: type) -> set[int]:
    return {id(base)}.union(*map(_kinds, type.__subclasses__(base)))
