"""The checklist of Django: its settings, compared with what they led to. Without Django there are no lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.cli.check import Line
from dbsight.cli.checks.database import Advice
from dbsight.formatting import counted, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.django_facts import Alias, Django
    from dbsight.cli.evidence import Evidence
    from dbsight.cli.practice import Practice

_LOAD: Final = 20
"""Connections from which opening them again and again is a habit."""

_LONG: Final = 1.0
"""s; of a request that is one transaction."""


class DjangoAdvice(Advice):
    """A line of the checklist about Django's settings."""

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """Yield one line if the command ran Django."""
        if evidence.inside is not None and evidence.inside.practice.django is not None:
            yield from super().look(evidence)

    def assess(self, practice: Practice, evidence: Evidence) -> Line:
        """Return the line."""
        django = practice.django
        return self.judge(django) if django is not None else Line("?", "Django was not set up", "run a command of it")

    def judge(self, django: Django) -> Line:
        """Return the line about Django."""
        raise NotImplementedError


class DjangoConnections(DjangoAdvice):
    """Checklist: are Django's connections kept between requests?

    Good:
        Each database server has ``OPTIONS = {"pool": …}``, or ``CONN_MAX_AGE`` keeps connections under WSGI: few are
        opened for many requests.

    What to do:
        ``"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True``; under ASGI, and on PostgreSQL with Django 5.1 or later,
        ``"OPTIONS": {"pool": True}`` with ``CONN_MAX_AGE`` 0. Behind PgBouncer, 0 is right.
    """

    name: ClassVar[str] = "django-connections"

    def judge(self, django: Django) -> Line:
        """Return the line."""
        servers = [each for each in django.aliases if each.server]
        if not servers:
            return Line("?", "no database server is configured", "relevant to database servers only")
        both = [each for each in servers if each.pooled and each.max_age]
        if both:
            return Line("✘", f"{_named(both)}: a pool and CONN_MAX_AGE, which Django refuses", "CONN_MAX_AGE = 0")
        kept = [each for each in servers if each.max_age]
        if kept and django.asgi:
            text = f"{_named(kept)}: CONN_MAX_AGE under ASGI keeps connections that no later request may use"
            return Line("✘", text, 'CONN_MAX_AGE = 0, OPTIONS = {"pool": True}')
        opened = f"{counted(django.opened, 'connection')} for {counted(django.used, 'use')}"
        fresh = [each for each in servers if not each.max_age and not each.pooled]
        if not fresh:
            return Line("✔", f"connections are kept: {opened} outside pools")
        if django.opened >= _LOAD and django.opened * 10 >= django.used * 9:
            text = f"{_named(fresh)}: CONN_MAX_AGE is 0, {opened} were opened"
            return Line("✘", text, "CONN_MAX_AGE = 60, CONN_HEALTH_CHECKS = True, or a pool")
        return Line("?", f"{_named(fresh)}: CONN_MAX_AGE is 0; {opened}: too few to judge", "run a command with load")


class DjangoTransactions(DjangoAdvice):
    """Checklist: are requests that are transactions short?

    Good:
        ``ATOMIC_REQUESTS`` is off, or no request kept its transaction open for a second.

    What to do:
        ``@transaction.non_atomic_requests`` for the view, and ``with transaction.atomic():`` around its statements.
    """

    name: ClassVar[str] = "django-transactions"

    def judge(self, django: Django) -> Line:
        """Return the line."""
        atomic = [each for each in django.aliases if each.atomic]
        if not atomic:
            return Line("✔", "requests are not transactions: ATOMIC_REQUESTS is off")
        if django.longest >= _LONG:
            text = f"ATOMIC_REQUESTS kept a transaction open for {seconds(django.longest)}: {django.where or 'a view'}"
            return Line("✘", text, "@transaction.non_atomic_requests, and atomic() around the statements alone")
        if django.longest:
            return Line("✔", f"ATOMIC_REQUESTS kept transactions open for {seconds(django.longest)} at most")
        return Line("?", f"{_named(atomic)}: ATOMIC_REQUESTS is on, and no request ran", "request some pages")


class DjangoDebug(DjangoAdvice):
    """Checklist: is ``DEBUG`` off in production?

    Good:
        ``DEBUG`` is false. With it each process keeps its latest 9 000 queries with their parameters in
        ``connection.queries``, and error pages show settings and variables.

    What to do:
        ``DEBUG = False`` in the settings of production.
    """

    name: ClassVar[str] = "django-debug"

    def judge(self, django: Django) -> Line:
        """Return the line."""
        if not django.debug:
            return Line("✔", "DEBUG is off")
        if django.server:
            return Line(
                "✘", f"DEBUG is on under {django.server}: queries are kept in connection.queries", "DEBUG = False"
            )
        return Line("?", "DEBUG is on, and no server of production was seen", "DEBUG = False in production")


def _named(aliases: list[Alias]) -> str:
    return ", ".join(each.name for each in aliases[:3])
