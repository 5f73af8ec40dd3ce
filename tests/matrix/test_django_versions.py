"""Releases of Django: each fault of its ORM is found with the same relation, line and fix on all, and as deployed."""

import pytest

from e2e import test_django_deployed as deployed
from integration import test_django_orm as contract

PACKAGES = (
    *("djangorestframework", "gunicorn", "uvicorn"),
    *("opentelemetry-instrumentation-asgi", "opentelemetry-instrumentation-django"),
)
VERSIONS = {
    "django 4.2": (("django ==4.2.*", *PACKAGES), "3.10"),
    "newest django": (("django >=6", *PACKAGES), "3.13"),
}

pytestmark = pytest.mark.slow

serve = deployed.serve
on_sqlite = deployed.on_sqlite


@pytest.fixture(params=VERSIONS)
def frameworks(request, python_of):
    """The interpreter of an environment with this release of Django, which deployments use, too."""
    packages, python = VERSIONS[request.param]
    return python_of(*packages, python=python)


def test_faults_are_found_with_relation_line_and_fix(frameworks, tmp_path_factory):
    """Descriptors load by other methods since 6.1."""
    printed = contract.run(tmp_path_factory, "sqlite3", "shop.db", python=frameworks)
    contract.test_each_fault_is_found_with_its_relation_and_fix(printed["cases"])
    contract.test_the_line_is_that_of_the_application(printed["cases"])
    contract.test_the_fix_makes_the_finding_go_away(printed["cases"])
    contract.test_what_is_no_fault_is_left_alone(printed["cases"])
    contract.test_objects_are_counted_by_model(printed)


def test_wsgi_serves_views_of_both_kinds(serve, on_sqlite, receiver):
    """With two workers of gunicorn."""
    deployed.test_gunicorn_serves_views_of_both_kinds([], serve, on_sqlite, receiver)


def test_asgi_serves_views_of_both_kinds(serve, on_sqlite, receiver):
    """uvicorn: the ORM runs in threads."""
    deployed.test_uvicorn_serves_views_of_both_kinds(serve, on_sqlite, receiver)


def test_the_development_server_ends_by_sigterm(serve, on_sqlite, receiver):
    """With DEBUG, without its reloader."""
    deployed.test_the_development_server_ends_by_sigterm(serve, on_sqlite, receiver)


def test_django_runs_its_tests_as_before(frameworks, on_sqlite, observe):
    """``manage.py test`` says the same."""
    deployed.test_django_runs_its_tests_as_before(frameworks, on_sqlite, observe)
