"""The bookshop behind real HTTP: Python's own WSGI server on loopback, in a thread of this process."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"


class _Silent(WSGIRequestHandler):
    """Does not log requests."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def set_up(database: Path) -> None:
    """Configure Django for the bookshop.

    Args:
        database: A SQLite file.

    Raises:
        RuntimeError: Django is configured already, as by ``DJANGO_SETTINGS_MODULE``.
    """
    templates = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [str(Path(__file__).parent / "templates")],
    }
    settings.configure(
        ALLOWED_HOSTS=[HOST],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(database)}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        INSTALLED_APPS=["dbsight.demo.bookshop"],
        MIDDLEWARE=[],
        ROOT_URLCONF="dbsight.demo.bookshop.urls",
        SECRET_KEY="of a demo",
        TEMPLATES=[templates],
        USE_TZ=True,
    )
    django.setup()


@contextmanager
def serve(*, port: int = 0) -> Iterator[str]:
    """Serve the bookshop while the block runs, on a SQLite file in a temporary directory; once per process.

    Args:
        port: On loopback; any free one by default.

    Yields:
        The address, ``http://127.0.0.1:40123``.

    Raises:
        RuntimeError: Django is configured already.
        OSError: The port is taken.
    """
    with TemporaryDirectory(prefix="bookshop-") as directory:
        set_up(Path(directory) / "books.db")
        from dbsight.demo.bookshop.seed import fill

        fill()
        with make_server(HOST, port, get_wsgi_application(), handler_class=_Silent) as server:
            thread = threading.Thread(target=server.serve_forever, name="bookshop", daemon=True)
            thread.start()
            try:
                yield f"http://{HOST}:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()
