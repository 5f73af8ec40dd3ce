"""Which queries are kept until their plan is asked for, and which are watched while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Policy(NamedTuple):
    """What is kept.

    Attributes:
        lowest: s; queries that take at least this long.
        once: Also the first query of each fingerprint, however long it takes.
        plans: Whether queries are kept for their plans.
        blocking: Whether the server is asked what blocks a query that takes so long.
        known: Whether no plan is asked for now, by the key of a database and a fingerprint; None: always.
    """

    lowest: float
    once: bool = False
    plans: bool = True
    blocking: bool = False
    known: Callable[[str, str], bool] | None = None


_owners: dict[int, Policy] = {}
_followers: list[Callable[[Policy | None], None]] = []


def policy() -> Policy | None:
    """What holds in this process: the union of what was asked for; None while plans are off."""
    if not _owners:
        return None
    every = list(_owners.values())
    known = [each.known for each in every if each.plans]
    return Policy(
        min(each.lowest for each in every),
        any(each.once for each in every),
        any(each.plans for each in every),
        any(each.blocking for each in every),
        _known_to_all([each for each in known if each is not None]) if None not in known else None,
    )


def _known_to_all(every: Sequence[Callable[[str, str], bool]]) -> Callable[[str, str], bool] | None:
    if len(every) <= 1:
        return every[0] if every else None
    return lambda database, fingerprint: all(known(database, fingerprint) for known in every)


def ask(owner: object, wanted: Policy | None) -> None:
    """Keep queries on behalf of an owner from now on; None: no longer."""
    if wanted is None:
        _owners.pop(id(owner), None)
    else:
        _owners[id(owner)] = wanted
    for follower in _followers:
        follower(policy())


def follow(follower: Callable[[Policy | None], None]) -> None:
    """Call ``follower`` with the policy now and whenever it changes."""
    _followers.append(follower)
    follower(policy())


def unfollow(follower: Callable[[Policy | None], None]) -> None:
    """Undo ``follow``."""
    if follower in _followers:
        _followers.remove(follower)
