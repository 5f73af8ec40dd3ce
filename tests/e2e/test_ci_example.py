"""``examples/ci``: what its workflows run, on a repository to which a commit adds an N+1."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from check_jsonschema import main as check_jsonschema
from ruamel.yaml import YAML

EXAMPLE = Path(__file__).parents[2] / "examples" / "ci"
GITHUB = EXAMPLE / ".github" / "workflows" / "test.yml"
GITLAB = EXAMPLE / ".gitlab-ci.yml"
INSTALL = "pip install -e '.[test]'"


def github(job):
    """The commands of a job of GitHub's, but for its summary."""
    steps = YAML(typ="safe").load(GITHUB)["jobs"][job]["steps"]
    return [step["run"] for step in steps if "run" in step and "STEP_SUMMARY" not in step["run"]]


def gitlab(job):
    """The commands of a job of GitLab's."""
    return YAML(typ="safe").load(GITLAB)[job]["script"]


def shell(directory, command, **environment):
    """Run a command as a runner does; what was printed, and its exit code."""
    foreign = ("GIT_", "OTEL_", "GITHUB_", "PYTEST")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}", "CI": "", "COLUMNS": "200"}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, **environment}
    done = subprocess.run(
        ["bash", "-e", "-c", command], cwd=directory, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout + done.stderr, done.returncode


def git(directory, *words):
    """Run git as somebody."""
    author = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    subprocess.run(["git", *author, *words], cwd=directory, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """With two branches: the second has the commit that adds the N+1."""
    directory = tmp_path_factory.mktemp("ci") / "shop"
    shutil.copytree(EXAMPLE, directory, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    git(directory, "init", "--quiet", "-b", "main")
    git(directory, "add", ".")
    git(directory, "commit", "--quiet", "-m", "List orders")
    git(directory, "switch", "--quiet", "-c", "customers")
    git(directory, "apply", "add_customers.patch")
    git(directory, "commit", "--quiet", "-am", "Name the customer of each order")
    return directory


@pytest.mark.parametrize(
    ("schema", "file"), [("vendor.github-workflows", GITHUB), ("vendor.gitlab-ci", GITLAB)], ids=["github", "gitlab"]
)
def test_the_workflows_are_valid(schema, file, capsys):
    """By the schemas that come with check-jsonschema."""
    with pytest.raises(SystemExit) as ended:
        check_jsonschema(["--builtin-schema", schema, str(file)])
    assert not ended.value.code, capsys.readouterr().out


@pytest.mark.parametrize("job", ["test", "compare"])
def test_both_workflows_run_the_same(job):
    """Tested once, it holds for both."""
    assert github(job) == gitlab(job)
    assert INSTALL in gitlab(job)


def test_a_suite_that_knows_nothing_of_dbsight_adopts_it_by_one_line(repository):
    """No file of the application or its tests imports it; without the line nothing is watched."""
    git(repository, "switch", "--quiet", "main")
    sources = [*repository.glob("shop/*.py"), *repository.glob("tests/*.py")]
    assert sources
    assert not any("import dbsight" in path.read_text() for path in sources)
    line = 'addopts = "--dbsight-fail-on=warning"\n'
    project = repository / "pyproject.toml"
    assert project.read_text().count(line) == 1
    assert "in 1 test, " in shell(repository, "python -m pytest")[0]
    printed, code = shell(repository, "python -m pytest -o addopts=")
    assert code == 0
    assert "in the database" not in printed


def test_the_tests_pass_before_the_commit_and_fail_after_it(repository):
    """The message names the line and the fix, and so does what code scanning reads."""
    (command,) = [each for each in gitlab("test") if each != INSTALL]
    git(repository, "switch", "--quiet", "main")
    printed, code = shell(repository, command)
    assert code == 0, printed
    git(repository, "switch", "--quiet", "customers")
    printed, code = shell(repository, command, GITHUB_ACTIONS="true")
    assert code == 1, printed
    line = next(
        number
        for number, text in enumerate((repository / "shop" / "orders.py").read_text().splitlines(), 1)
        if "order.customer.name" in text
    )
    fix = "select(Order).options(joinedload(Order.customer))"
    for promised in (
        "1 finding in this test",
        "10 queries loaded Order.customer one row at a time.",
        f"at shop/orders.py:{line} in listed",
        f"fix  {fix}",
    ):
        assert promised in printed
        assert promised in (EXAMPLE / "README.md").read_text()
    assert f"::warning file=shop/orders.py,line={line}," in printed
    (found,) = json.loads((repository / "dbsight.sarif").read_text())["runs"][0]["results"]
    assert found["locations"][0]["physicalLocation"]["region"]["startLine"] == line


def test_the_comparison_fails_for_the_commit(repository):
    """And says why; without a change it passes."""
    commands = [each for each in gitlab("compare") if each != INSTALL]
    git(repository, "switch", "--quiet", "customers")
    for command in commands[:-1]:
        printed, code = shell(repository, command, BASE="main")
        assert code == 0, printed
    printed, code = shell(repository, commands[-1])
    assert code == 1, printed
    assert "Order.customer is loaded one row at a time" in (repository / "compare.md").read_text()
    printed, code = shell(repository, commands[-1].replace("base.json", "head.json"))
    assert code == 0, printed
