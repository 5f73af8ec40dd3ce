"""The page that compares stock OpenTelemetry and dbsight under Django is what a run shows today."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from embedded import Unavailable
from matrix.environments import Missing

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.slow


def generator():
    """``docs/generate_comparison.py``, a program."""
    spec = importlib.util.spec_from_file_location("generate_comparison", DOCS / "generate_comparison.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def test_the_page_about_django_is_current():
    """But for the versions of what is installed."""
    try:
        made = generator().django_page()
    except (Missing, Unavailable) as reason:
        pytest.skip(str(reason))
    versions = re.compile(r"\d+(\.\d+)+(b\d+)?")
    written = (DOCS / "comparison_django.md").read_text(encoding="utf-8")
    assert versions.sub("N", made) == versions.sub("N", written)
