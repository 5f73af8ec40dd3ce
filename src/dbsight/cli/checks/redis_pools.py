"""The checklist of Redis pools: shared, opened when needed, cleaned up, tested."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.cli.check import Line
from dbsight.cli.checks.database import Advice, names
from dbsight.formatting import counted

if TYPE_CHECKING:
    from dbsight.cli.evidence import Evidence
    from dbsight.cli.practice import Practice

_MANY: Final = 5
"""Idle connections that are worth closing."""


def _none() -> Line:
    return Line("?", "no pool of Redis connections was used", "run a command that uses one")


class RedisSharing(Advice):
    """Checklist: do Redis clients share their pools?

    Good:
        There is one pool per target and configuration.

    What to do:
        ``redis.Redis(connection_pool=dbsight.redis_pool("master"))``, or one client that the application shares.
    """

    name: ClassVar[str] = "redis-sharing"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        pools = practice.redis()
        if not pools:
            return _none()
        several = [each for each in pools if each.same > 1]
        if several:
            text = f"{several[0].same} pools with the same configuration: {names(several)}"
            return Line("✘", text, 'dbsight.redis_pool("master")')
        return Line("✔", f"{counted(sum(each.clients for each in pools), 'client')}, one pool per target")


class RedisLazy(Advice):
    """Checklist: are Redis connections opened when they are needed?

    Good:
        No more were opened than were in use at once, apart from those that replaced others.

    What to do:
        Do not fill pools when the process starts; redis-py opens connections as clients ask for them.
    """

    name: ClassVar[str] = "redis-lazy"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        pools = [each for each in practice.redis() if each.created]
        if not pools:
            return _none()
        early = [each for each in pools if each.idle > each.most]
        if early:
            text = f"{early[0].idle} connections are open, {early[0].most} were in use at once: {names(early)}"
            return Line("✘", text, "do not open connections before they are needed")
        return Line(
            "✔", f"{counted(sum(each.created for each in pools), 'connection')} opened, each when it was needed"
        )


class RedisCleanup(Advice):
    """Checklist: are idle Redis connections closed?

    Good:
        Pools come from ``dbsight.redis_pool``, which closes connections after five minutes without use. Pools of
        redis-py keep theirs until the process ends.

    What to do:
        ``dbsight.redis_pool(role)``, or ``pool.disconnect(inuse_connections=False)`` from time to time.
    """

    name: ClassVar[str] = "redis-cleanup"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        pools = practice.redis()
        if not pools:
            return _none()
        failing = [each for each in pools if each.cleanup_failures]
        if failing:
            text = f"{failing[0].cleanup_failures} clean-ups failed: {names(failing)}"
            return Line("✘", text, "see the log for the error; the server may be unreachable")
        kept = [each for each in pools if not each.shared]
        if any(each.idle >= _MANY for each in kept):
            most = max(kept, key=lambda each: each.idle)
            return Line("✘", f"{most.idle} idle connections stay open: {most.name}", "dbsight.redis_pool(role)")
        if kept:
            return Line("?", f"idle connections stay open, though few: {names(kept)}", "dbsight.redis_pool(role)")
        return Line("✔", "idle connections are closed after five minutes")


class RedisHealth(Advice):
    """Checklist: are broken Redis connections detected before use?

    Good:
        Connections that were idle are tested with PING: by ``dbsight.redis_pool``, or ``health_check_interval=30``.

    What to do:
        ``redis.Redis(…, health_check_interval=30)``.
    """

    name: ClassVar[str] = "redis-health"

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        known = [each for each in practice.redis() if each.tested is not None]
        if not known:
            return _none()
        without = [each for each in known if not each.tested]
        if without:
            return Line(
                "✘", f"idle connections are not tested before use: {names(without)}", "health_check_interval=30"
            )
        return Line("✔", f"idle connections are tested before use: {names(known)}")
