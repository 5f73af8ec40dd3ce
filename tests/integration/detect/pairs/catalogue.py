"""Pairs of a fault and its right twin, in the shapes that public applications send.

Each is one function with a switch: ``right=False`` works as the application does where it is slow, ``right=True`` does
the same work as it should. The statements have the shapes of the application that is named; the tables are the shop's.
"""

from __future__ import annotations

from typing import NamedTuple


class Pair(NamedTuple):
    """A fault and its right twin.

    Attributes:
        application: The public application or library that it is drawn from.
        work: Called with what it works on, a session or a client, and with whether to do it right.
        rules: Those of which one must find the fault at warning or above.
    """

    application: str
    work: object
    rules: frozenset[str]

    @property
    def name(self):
        """For the test."""
        return f"{self.application}-{self.work.__name__}"


SESSION_PAIRS, CLIENT_PAIRS, LOOP_PAIRS = [], [], []
"""Of a session of SQLAlchemy, of a Redis client, and of an event loop's Redis client."""


def pair(application, *rules, kind=SESSION_PAIRS):
    """Register a pair of an application, whose fault one of these rules must find; ``n_plus_one`` by default."""

    def register(work):
        kind.append(Pair(application, work, frozenset(rules or ("n_plus_one",))))
        return work

    return register
