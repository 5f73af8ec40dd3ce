"""Relations of Django to objects of any class: generic foreign keys, generic relations, and content types.

``ContentTypeManager`` keeps each content type that it finds until the process ends, so that a loop that needs ten of
them is no N+1; one that it does not find is asked for again each time. Only its own methods keep what they find:
``ContentType.objects.get(…)`` does not, and neither does a generic foreign key that leads to a content type.

Private names: ``create_generic_related_manager``, ``GenericForeignKeyDescriptor`` (of Django 6.1, before it
``GenericForeignKey`` is the descriptor); checked with Django 4.2, 5.2 and 6.1.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from dbsight.instrument.django_orm import During, Mark, ambient, fetching, managers, mark_of

if TYPE_CHECKING:
    from types import ModuleType

    from dbsight.instrument.wrap import Patches

_LOOK_UPS: Final = ("get_by_natural_key", "get_for_id", "get_for_model")
_MAX_KNOWN: Final = 1000
_NO_MARK: Final = Mark("", "")
_codes: tuple[Any, ...] = ()
_kept: dict[tuple[Any, ...], Mark] = {}


def patch(patches: Patches) -> None:
    """Follow them from now on, or from when they are imported."""
    patches.when_imported("django.contrib.contenttypes.fields", lambda module: _relations(patches, module))
    patches.when_imported("django.contrib.contenttypes.models", lambda module: _content_types(patches, module))


def _relations(patches: Patches, module: ModuleType) -> None:
    managers(patches, module, "create_generic_related_manager")
    descriptor = getattr(module, "GenericForeignKeyDescriptor", module.GenericForeignKey)
    fetching(patches, descriptor, _to_any, _to_any_unless_cached)


def _to_any(descriptor: Any, instance: Any) -> During:
    """``tag.content_object``."""
    field = getattr(descriptor, "field", descriptor)
    return During(mark_of(type(instance), field.name, "lazy", to_many=False, lookup=field.ct_field))


def _to_any_unless_cached(descriptor: Any, instance: Any) -> During | None:
    if instance is None or getattr(descriptor, "field", descriptor).is_cached(instance):
        return None
    return _to_any(descriptor, instance)


def _content_types(patches: Patches, module: ModuleType) -> None:
    """Follow the query alone: its methods are called for each row, and seldom send one."""
    global _codes  # noqa: PLW0603 - of the one class that there is
    manager = module.ContentTypeManager
    _codes = tuple([getattr(getattr(manager, name), "__code__", None) for name in _LOOK_UPS])
    patches.wrap(manager, "get", begin=_getting)


def _getting(_: Any) -> During | None:
    """``ContentType.objects.get_for_id(…)``, of the application or below a relation, has to ask the database."""
    if sys._getframe(2).f_code not in _codes:
        return None  # the application's own ``get``
    mark = ambient.get() or _NO_MARK
    found = _kept.get(mark)
    if found is None:
        if len(_kept) >= _MAX_KNOWN:
            _kept.clear()
        found = _kept[mark] = Mark(*mark)._replace(kept=True)
    return During(found)
