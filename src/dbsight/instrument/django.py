"""Django above the drivers: what it sends as it opens a connection, or to log a query, is no query of the request.

``django_orm.py`` knows what the queries are for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dbsight import scope
from dbsight.instrument import django_orm
from dbsight.instrument.driver_call import Covering
from dbsight.instrument.wrap import Patches

if TYPE_CHECKING:
    from contextvars import Token
    from types import ModuleType

_patches: Final = Patches()
_users: list[object] = []


class _Connecting:
    """One connection that is being opened."""

    __slots__ = ("_token",)

    def __init__(self, _: Any) -> None:
        self._token: Token[str] = scope.connecting.set("django")

    def returned(self, _: Any) -> None:
        """It is open, or could not be opened."""
        scope.connecting.reset(self._token)

    raised = returned


def follow(user: object) -> None:
    """Tell set-up from queries, as long as a driver is watched."""
    if not _users:
        _patches.when_imported("django.db.backends.base.base", _patch)
        _patches.when_imported("django.db.backends.sqlite3.operations", _patch_logging)
        django_orm.patch(_patches)
    _users.append(user)


def unfollow(user: object) -> None:
    """Undo ``follow``; the last user ends it."""
    if user in _users:
        _users.remove(user)
        if not _users:
            _patches.undo()


def _patch_logging(module: ModuleType) -> None:
    # With DEBUG it has SQLite quote the parameters of each query, by one more query.
    _patches.wrap(module.DatabaseOperations, "_quote_params_for_last_executed_query", begin=Covering)


def _patch(module: ModuleType) -> None:
    _patches.wrap(module.BaseDatabaseWrapper, "connect", begin=_Connecting)
