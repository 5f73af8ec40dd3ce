"""Repetitions of queries that are faults, and repetitions that are right: what the rules are measured by.

The kinds come from the test suites and issue trackers of detectors of other ecosystems (Bullet, Prosopite, django-zeal,
nplusone, Sentry, Scout, rack-mini-profiler, Hibernate's and Entity Framework's guides), and from what public
applications do. Each scenario is a function of a session; its docstring names the kind.
"""

from __future__ import annotations

from typing import NamedTuple


class Scenario(NamedTuple):
    """A piece of code that repeats queries.

    Attributes:
        work: Called with a session, below a root span.
        rules: Those of which one must be found at warning or above; empty for a repetition that is right.
        outside: It runs outside any span.
        portable: It runs on PostgreSQL, too.
    """

    work: object
    rules: frozenset[str] = frozenset()
    outside: bool = False
    portable: bool = True

    @property
    def name(self):
        """Of the function."""
        return self.work.__name__


FAULTS = []
RIGHT = []


def fault(*rules, outside=False, portable=True):
    """Register a scenario that one of these rules must find; ``n_plus_one`` by default."""

    def register(work):
        FAULTS.append(Scenario(work, frozenset(rules or ("n_plus_one",)), outside, portable))
        return work

    return register


def right(*, outside=False, portable=True):
    """Register a scenario in which nothing may be found above info."""

    def register(work):
        RIGHT.append(Scenario(work, outside=outside, portable=portable))
        return work

    return register
