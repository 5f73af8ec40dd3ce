"""Django above the drivers: its transactions; ``pools/django.py`` follows its connections.

What it sends to log a query is no query of the request. A transaction is begun by the
line of ``atomic()``, or by the view where ``ATOMIC_REQUESTS`` is set, not by the first statement in it.
``django_orm.py`` knows what the queries are for.

``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=dbsight_django`` leaves Django to its drivers. Private names:
``Atomic._from_testcase``, and ``func`` and ``args`` of ``contextlib.ContextDecorator``'s wrapper; checked with Django
4.2, 5.2 and 6.1, Python 3.10 to 3.13.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

from dbsight import config
from dbsight.instrument import callsite, definitions, django_generic, django_loads, django_orm, loads, transactions
from dbsight.instrument.driver_call import Covering
from dbsight.instrument.pools import django as connections
from dbsight.instrument.wrap import Patches

if TYPE_CHECKING:
    from types import FrameType, ModuleType

    from dbsight.model import CallSite

NAME: Final = "dbsight_django"
"""What ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`` calls it."""

_OF_A_TEST: Final = frozenset({"long_transaction"})
"""Allowed in the transaction that a test case rolls back in the end."""

_patches: Final = Patches()
_users: list[object] = []


def follow(user: object) -> None:
    """Tell set-up from queries, as long as a driver is watched, unless Django is disabled."""
    if not _users and NAME not in config.current().surroundings.disabled_instrumentations:
        connections.watch(_patches)
        _patches.when_imported("django.db.backends.sqlite3.operations", _patch_logging)
        _patches.when_imported("django.db.transaction", _patch_transactions)
        django_orm.patch(_patches)
        django_generic.patch(_patches)
        loads.follow(django_loads.switch)
    _users.append(user)


def unfollow(user: object) -> None:
    """Undo ``follow``; the last user ends it."""
    if user in _users:
        _users.remove(user)
        if not _users:
            loads.unfollow(django_loads.switch)
            _patches.undo()


def _patch_logging(module: ModuleType) -> None:
    # With DEBUG it has SQLite quote the parameters of each query, by one more query.
    _patches.wrap(module.DatabaseOperations, "_quote_params_for_last_executed_query", begin=Covering)


# -- Transactions -----------------------------------------------------------------------------------------------------
def _patch_transactions(module: ModuleType) -> None:
    _patches.wrap(module.Atomic, "__enter__", begin=_entering)
    _patches.wrap(module.Atomic, "__exit__", before=_leaving)


class _Entering:
    """One ``atomic`` block that opens a transaction."""

    __slots__ = ("_connection", "_opening")

    def __init__(self, connection: Any, opening: transactions.Opening) -> None:
        self._connection = connection
        self._opening = opening

    def returned(self, _: Any) -> None:
        """Now there is a connection; some back ends have begun the transaction on it."""
        transactions.opening(self._connection.connection, self._opening)

    def raised(self, _: BaseException) -> None:
        """There is no transaction."""


def _entering(atomic: Any) -> _Entering | None:
    connection = _connection_of(atomic)
    if connection.in_atomic_block:
        return None  # a savepoint
    site = function = None
    of_request = False
    if config.current().code_location != "off":
        frame = sys._getframe(2)
        function, arguments = _decorated(frame)
        site = callsite.find(frame) if function is None else _defined(function, arguments)
        of_request = function is not None and _is_of_request(connection, arguments)
    return _Entering(
        connection,
        transactions.Opening(
            "ATOMIC_REQUESTS" if of_request else "atomic",
            site,
            _OF_A_TEST if getattr(atomic, "_from_testcase", False) else frozenset(),
        ),
    )


def _leaving(atomic: Any) -> None:
    connection = _connection_of(atomic)
    if not connection.savepoint_ids:
        transactions.opened(connection.connection)


def _connection_of(atomic: Any) -> Any:
    return sys.modules["django.db.transaction"].get_connection(atomic.using)


def _decorated(frame: FrameType) -> tuple[Any, tuple[Any, ...]]:
    """The function that ``atomic`` decorates, with its arguments; None where it is a block."""
    if frame.f_code.co_filename != contextlib.__file__:
        return None, ()
    names = frame.f_locals
    return names.get("func"), names.get("args", ())


def _is_of_request(connection: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether Django decorated a view itself."""
    return bool(
        connection.settings_dict.get("ATOMIC_REQUESTS")
        and arguments
        and isinstance(arguments[0], sys.modules["django.http"].HttpRequest)
    )


def _defined(function: Any, arguments: tuple[Any, ...]) -> CallSite | None:
    """Where a function that is a transaction is defined; of a view made of a class, the method that will answer."""
    owner = getattr(function, "view_class", None) or getattr(function, "cls", None)
    if owner is not None and arguments:
        method = str(getattr(arguments[0], "method", "")).lower()
        function = getattr(owner, method, None) or owner
    return definitions.of_function(function)
