"""Consumers that remember what instrumentors published."""

import contextlib

from dbsight import recording


class Observations(list):
    """Observations in order; those that are pending are drained before it is looked at."""

    __hash__ = None

    def __eq__(self, other):
        recording.loose.drain()
        return list(self) == other

    def __iter__(self):
        recording.loose.drain()
        return super().__iter__()

    def __len__(self):
        recording.loose.drain()
        return super().__len__()


class Heard(recording.Consumer):
    """Remembers observations.

    Args:
        keep: Gives what is remembered of an observation; None leaves it out.

    Attributes:
        observations: What it gave, in order.
    """

    def __init__(self, keep=lambda observation: observation):
        self.observations = Observations()
        self._keep = keep

    def observe(self, observation):
        """Remember it; nothing is to be said of it."""
        kept = self._keep(observation)
        if kept is not None:
            self.observations.append(kept)


@contextlib.contextmanager
def hearing(keep=lambda observation: observation):
    """A list to which observations are added while the block runs; those that are pending at its end as well."""
    heard = Heard(keep)
    recording.subscribe(heard)
    try:
        yield heard.observations
        recording.loose.drain()
    finally:
        recording.unsubscribe(heard)
