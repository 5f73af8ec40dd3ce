"""Write the pages of documentation that are made from the code.

``python docs/generate.py`` writes them; with ``--check`` it writes nothing and fails when one is stale.
"""
# ruff: noqa: INP001 - a program beside the pages, not a package

import argparse
import sys
from pathlib import Path

from attributes_page import attributes
from cli_page import cli
from configuration_page import configuration
from doctor_page import doctor
from metrics_page import metrics
from rules_page import rules
from tested_with_page import tested_with

HERE = Path(__file__).parent

PAGES = (
    ("attributes.md", attributes),
    ("cli.md", cli),
    ("configuration.md", configuration),
    ("rules.md", rules),
    ("doctor.md", doctor),
    ("metrics.md", metrics),
    ("tested_with.md", tested_with),
)
"""File in this directory, and the function that gives its whole text."""


def main() -> int:
    """Write or check every page; the exit code is 1 when one is stale."""
    parser = argparse.ArgumentParser(description="Write the pages that are made from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    check = parser.parse_args().check
    stale = []
    for name, page in PAGES:
        path, text = HERE / name, page()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text, encoding="utf-8")
    if check and stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run python docs/generate.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
