"""Connections of clients of Elasticsearch and S3, for the checklist: the values with which clients were made."""

from __future__ import annotations

import functools
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbsight.cli.practice import Store

_MAX: Final = 20


def watch(stores: list[Store]) -> None:
    """Note the clients that this process makes from now on.

    Args:
        stores: They are added to it.
    """
    if find_spec("elastic_transport") is not None:
        _after_making(import_module("elastic_transport").BaseNode, functools.partial(_elasticsearch, stores))
    if find_spec("botocore") is not None:
        _after_making(import_module("botocore.client").BaseClient, functools.partial(_s3, stores))


def _after_making(kind: Any, look: Callable[[Any], None]) -> None:
    """Look at each object of a class once it is made."""
    original = kind.__init__

    @functools.wraps(original)
    def init(self: Any, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        try:
            look(self)
        except Exception:
            failed("doctor.store_facts")

    kind.__init__ = init


def _elasticsearch(stores: list[Store], node: Any) -> None:
    timeout = node.config.request_timeout
    _add(stores, "elasticsearch", int(node.config.connections_per_node), float(timeout) if timeout else None)


def _s3(stores: list[Store], client: Any) -> None:
    if client.meta.service_model.service_name == "s3":
        _add(stores, "s3", int(client.meta.config.max_pool_connections), float(client.meta.config.read_timeout))


def _add(stores: list[Store], kind: str, size: int, timeout: float | None) -> None:
    from dbsight.cli.practice import Store

    for each in stores:
        if (each.kind, each.size, each.timeout) == (kind, size, timeout):
            each.clients += 1
            return
    if len(stores) < _MAX:
        stores.append(Store(kind, size, timeout))
