"""For development: middlewares that tell with each response what its request did to the databases.

Each adds a ``Server-Timing`` header, which browsers show among the timings of a request, and a link to the request's
page where the process serves one (``OTEL_DBSIGHT_SERVE``); and, where it is asked for, a small badge to HTML pages.
They do nothing unless ``OTEL_DBSIGHT_TOOLBAR`` or an argument enables them.

One core, ``watch.Watch``, and an adapter per interface: ``ASGIToolbar`` (FastAPI, Starlette), ``WSGIToolbar`` (Flask),
``DjangoToolbar``. None of them imports a framework.
"""

from dbsight.toolbar.asgi import ASGIToolbar
from dbsight.toolbar.django import DjangoToolbar
from dbsight.toolbar.wsgi import WSGIToolbar

__all__ = ["ASGIToolbar", "DjangoToolbar", "WSGIToolbar"]
