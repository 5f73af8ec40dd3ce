"""The table of suites that are run with ``pytest --dbsight``: libraries and applications that use an ORM.

Each runs on its own sources, as where it is developed: what it does is the application's doing, and the line that a
finding names is its own.
"""

from __future__ import annotations

from peers.suites import Suite

_DJANGO = ("django<6", "pytest<9", "pytest-django<5")

PLUGGED: tuple[Suite, ...] = (
    Suite(
        *("flask-sqlalchemy", "flask-sqlalchemy", "3.1.1"),
        needs=("blinker", "sqlalchemy<2.1"),
        sources=("src",),
        ci=True,
        what="everything, on SQLite",
    ),
    Suite(
        *("sqlalchemy-utils", "sqlalchemy-utils", "0.43.0"),
        needs=("sqlalchemy<2.1", "pytest<9", "babel", "flexmock", "passlib", "arrow", "pendulum", "python-dateutil"),
        environment={"SQLALCHEMY_UTILS_TEST_POSTGRESQL_PASSWORD": ""},
        arguments=("--continue-on-collection-errors",),
        what="what runs on SQLite",
    ),
    Suite(
        *("django-guardian", "django-guardian", "3.5.2"),
        paths=("guardian/testapp/tests",),
        needs=(*_DJANGO, "django-environ"),
        environment={"DATABASE_URL": "sqlite://:memory:"},
        what="everything, on SQLite",
    ),
    Suite(
        *("djangorestframework", "djangorestframework", "3.18.3"),
        needs=(*_DJANGO, "dj-database-url", "importlib-metadata", "pytz", "django-filter", "django-guardian"),
        arguments=("-o", "addopts=", "--continue-on-collection-errors"),
        ci=True,
        what="everything, on SQLite",
    ),
    Suite(
        *("django-allauth", "django-allauth", "65.21.1"),
        paths=("tests/apps/account", "tests/apps/usersessions"),
        full=("tests/apps",),
        needs=(
            *_DJANGO,
            *("pyjwt[crypto]", "pyyaml", "oauthlib", "qrcode", "fido2", "python3-openid", "requests", "pytest-asyncio"),
            *("django-ninja", "djangorestframework"),
        ),
        arguments=("-o", "addopts=", "--continue-on-collection-errors"),
        ci=True,
        what="accounts and sessions, on SQLite",
    ),
)
