"""Where functions of the application are defined."""

import contextlib
import functools
import json
import os
from pathlib import Path

from dbsight.instrument import definitions

HERE = os.path.relpath(__file__)


def decorated(function):
    """As decorators do."""

    @functools.wraps(function)
    def inner(*arguments):
        return function(*arguments)

    return inner


@decorated
@decorated
def view(request):  # below its decorators
    """A view."""


class Page:
    """A page."""

    def get(self, request):
        """Its method."""


def test_the_line_is_that_of_def():
    """Below decorators, which keep the function that they wrap; asked twice, it is the same object."""
    site = definitions.of_function(view)
    lines = Path(__file__).read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if text.endswith("# below its decorators"))
    assert (site.file, site.line, site.function) == (HERE, line, "view")
    assert definitions.of_function(view) is site
    assert definitions.of_function(Page.get).function in {"Page.get", "get"}


def test_what_is_not_of_the_application_has_no_place():
    """Of the standard library, of Python itself, of dbsight."""
    others = (json.loads, contextlib.suppress, len, definitions.of_function, functools.partial(view))
    assert [definitions.of_function(each) for each in others] == [None] * 5


class Slim:
    """A callable to which no weak reference can be made."""

    __slots__ = ()

    def __call__(self, request):
        """Answer."""


def test_any_callable_may_be_asked_for():
    """Also one that cannot be remembered."""
    assert definitions.of_function(Slim()) is None
    assert definitions.of_function({}) is None
