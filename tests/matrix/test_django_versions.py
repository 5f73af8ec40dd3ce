"""Releases of Django: each fault of its ORM is found with the same relation, line and fix on all."""

import pytest

from integration import test_django_orm as contract

VERSIONS = {
    "django 4.2": (("django ==4.2.*", "djangorestframework"), "3.10"),
    "newest django": (("django >=6", "djangorestframework"), "3.13"),
}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("version", VERSIONS)
def test_faults_are_found_with_relation_line_and_fix(version, python_of, tmp_path_factory):
    """Descriptors load by other methods since 6.1."""
    packages, python = VERSIONS[version]
    printed = contract.run(tmp_path_factory, "sqlite3", "shop.db", python=python_of(*packages, python=python))
    contract.test_each_fault_is_found_with_its_relation_and_fix(printed["cases"])
    contract.test_the_line_is_that_of_the_application(printed["cases"])
    contract.test_the_fix_makes_the_finding_go_away(printed["cases"])
    contract.test_what_is_no_fault_is_left_alone(printed["cases"])
    contract.test_objects_are_counted_by_model(printed)
