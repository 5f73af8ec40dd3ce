"""Names of Django's relations that are made in an unusual way."""

from types import SimpleNamespace

from dbsight.instrument import django_orm


def model(name):
    """A class with Django's description of it."""
    return type(name, (), {"_meta": SimpleNamespace(managers=())})


def test_a_foreign_object_that_is_read_as_many_has_the_name_of_its_field():
    """Its manager has the other side of the relation in place of a field, as in Django's own tests of such fields."""
    page = model("Page")
    other_side = SimpleNamespace(get_accessor_name=str, field=SimpleNamespace(name="descendants"))
    manager = SimpleNamespace(field=other_side, model=page, instance=page())
    name, load, to_many, entity, _, lookup, *_ = django_orm._relation(manager, page)
    assert (name, load, to_many, entity, lookup) == ("Page.descendants", "lazy", True, "Page", "descendants")
