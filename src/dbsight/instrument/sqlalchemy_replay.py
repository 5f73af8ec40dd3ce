"""Queries of SQLAlchemy whose plan may be asked for later, on a connection of our own.

``StatementCall`` is used while plans are off, ``ReplayableCall`` while they are on: a query pays for plans only then.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar
from weakref import ref

from dbsight.instrument import private
from dbsight.instrument.private import NoConnectionError
from dbsight.instrument.sqlalchemy_call import StatementCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbsight.instrument.replays import Policy

_T = TypeVar("_T")

logger = logging.getLogger("dbsight")

_MAX_VALUES: Final = 1000
_MAX_LENGTH: Final = 10_000
"""Characters or bytes of one value; a query with more is not kept."""

_MAX_SEEN: Final = 10_000

_SHARED: Final = frozenset(("StaticPool", "SingletonThreadPool"))


class Replay:
    """A query as its driver got it: a weak handle to its engine, and its values until they are wiped.

    Attributes:
        text: The statement.
        parameters: A copy of its values.
    """

    __slots__ = ("_engine", "parameters", "text")

    _told: ClassVar[set[str]] = set()

    def __init__(self, engine: Any, text: str, parameters: Any) -> None:
        self._engine = ref(engine)
        self.text = text
        self.parameters = parameters

    def __repr__(self) -> str:
        return "Replay()"

    def wipe(self) -> None:
        """Forget text and values."""
        self.text, self.parameters = "", None

    def run(self, work: Callable[[Any], _T]) -> _T:
        """Call ``work`` with a private connection of SQLAlchemy's; see ``private.run``.

        Raises:
            NoConnectionError: The engine is gone, or all its connections are one (in-memory SQLite).
        """
        engine = self._engine()
        if engine is None:
            raise NoConnectionError("the engine is gone")
        if type(engine.pool).__name__ in _SHARED:
            self._say("shared", "engines that have one connection for everybody, such as in-memory SQLite")
            raise NoConnectionError("the pool shares one connection")
        return private.run(engine, lambda connection: work(self._checked(connection)))

    def _checked(self, connection: Any) -> Any:
        """Refuse an in-memory SQLite database: a connection of our own has another, empty one."""
        if connection.dialect.name == "sqlite":
            files = connection.exec_driver_sql("PRAGMA database_list").fetchall()
            if not any(row[1] == "main" and row[2] for row in files):
                self._say("memory", "in-memory SQLite databases, which another connection cannot see")
                raise NoConnectionError("the database is in memory")
        return connection

    @classmethod
    def _say(cls, key: str, what: str) -> None:
        if key not in cls._told:
            cls._told.add(key)
            logger.warning("dbsight: query plans are not available for %s", what)


class ReplayableCall(StatementCall):
    """A statement that can be asked about later.

    Attributes:
        replay: How; None once it is certain that it will not be needed.
    """

    policy: ClassVar[Policy | None] = None
    replay: Replay | None = None
    _seen: ClassVar[set[str]] = set()

    def leaves(self, context: Any) -> None:
        """Keep the values that it was given, until it is known whether its plan is wanted."""
        super().leaves(context)
        if self.statement.kind != "select" or context.executemany or context.isinsert or context.isupdate:
            return  # a column's default may be selected in the context of an INSERT or UPDATE, whose text that has
        parameters = getattr(context, "parameters", None)  # unset where such a default is executed by itself
        if parameters is not None:
            self.replay = Replay(context.engine, context.statement, parameters[0] if parameters else None)

    def finish(self, error: BaseException | None = None) -> None:
        """The query is over: what it was given is kept if its plan may be asked for."""
        replay = self.replay
        if replay is not None and not self.over and not (error is None and self._is_wanted() and _copied(replay)):
            self.replay = None
        super().finish(error)

    def _is_wanted(self) -> bool:
        policy = self.policy
        if policy is None:
            return False
        if self.duration >= policy.lowest:
            known = policy.known
            return known is None or not known(self.engine.database.key, self.statement.fingerprint)
        fingerprint = self.statement.fingerprint
        if not policy.once or fingerprint in self._seen or len(self._seen) >= _MAX_SEEN:
            return False
        self._seen.add(fingerprint)
        return True

    def complete(self) -> None:
        """As for every statement, with its replay."""
        replay = self.replay
        super().complete()
        self.replay = replay


def _copied(replay: Replay) -> bool:
    """Copy the values, which the application may change; False where they are too large to be kept."""
    parameters = replay.parameters
    values = list(parameters.values()) if isinstance(parameters, dict) else list(parameters or ())
    if len(values) > _MAX_VALUES:
        return False
    if any(isinstance(each, (str, bytes, bytearray, list, tuple)) and len(each) > _MAX_LENGTH for each in values):
        return False
    replay.parameters = dict(parameters) if isinstance(parameters, dict) else tuple(values) or None
    return True
