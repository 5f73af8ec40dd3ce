"""Every configuration of ``collector/`` is read by the program that it is for."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from collector.services import CONFIGURATIONS

OVERLAYS = {
    "datadog.yaml": {},
    "honeycomb.yaml": {"HONEYCOMB_API_KEY": "secret"},
    "newrelic.yaml": {"NEW_RELIC_LICENSE_KEY": "secret"},
    "grafana-cloud.yaml": {
        "GRAFANA_CLOUD_OTLP_ENDPOINT": "https://otlp.example.invalid/otlp",
        "GRAFANA_CLOUD_BASIC_AUTH": "secret",
    },
}
"""What each wants to be told by the environment."""

COMBINATIONS = [
    ("otelcol.yaml",),
    *(("otelcol.yaml", overlay) for overlay in OVERLAYS),
    ("scale-out/front.yaml",),
    ("scale-out/front.yaml", "scale-out/dns.yaml"),
]


def said(*command, env=None):
    """Exit code and words of a program that checks a file."""
    done = subprocess.run(
        [str(part) for part in command], cwd=CONFIGURATIONS, env=env, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("files", COMBINATIONS, ids=" ".join)
def test_the_collector_takes_the_configuration(otelcol_program, files):
    """As a user puts them together, with nothing in the environment but the secrets."""
    arguments = [word for name in files for word in ("--config", name)]
    assert said(otelcol_program, "validate", *arguments, env=OVERLAYS.get(files[-1], {})) == (0, "")


def test_no_configuration_holds_a_secret():
    """What is called key, token, password or authorization comes from the environment."""
    held = [
        line
        for path in CONFIGURATIONS.rglob("*.y*ml")
        for line in path.read_text().splitlines()
        if re.match(r"\s*[\w.-]*(api-key|team|token|authorization)\s*:", line) and "${env:" not in line
    ]
    assert held == []


def test_the_collector_has_the_components_that_are_used_and_no_other(otelcol_program):
    """Each component of builder.yaml stands in a configuration: nothing is built in vain."""
    _, words = said(otelcol_program, "components")
    had = set(re.findall(r"^    - name: (\S+)$", words, re.MULTILINE))
    used = "\n".join(path.read_text() for path in CONFIGURATIONS.rglob("*.yaml") if path.name != "builder.yaml")
    providers = {"env", "file", "yaml"}
    assert {name for name in had - providers if not re.search(rf"^  {name}(/\w+)?:", used, re.MULTILINE)} == set()


def test_jaeger_takes_its_configuration(jaeger_program):
    """Without starting."""
    code, words = said(jaeger_program, "validate", "--config", "jaeger.yaml", env={})
    assert (code, "rror" in words) == (0, False), words


def test_prometheus_takes_its_configuration(promtool_program):
    """With the rules that it names, where they are there."""
    code, words = said(promtool_program, "check", "config", "prometheus.yml")
    assert (code, "is valid prometheus config file syntax" in words) == (0, True), words


@pytest.fixture(scope="session")
def compose(compose_program):
    """What Compose's own loader understands of the file: a dictionary of services."""
    code, words = said(compose_program, "--format", "json", "docker-compose.yml", env={"PATH": os.defpath})
    assert code == 0, words
    return json.loads(words)["services"]


def test_compose_takes_its_file(compose):
    """Three services belong to the demo; each service depends on services that are there."""
    assert {name for name, service in compose.items() if service.get("profiles")} == {"postgresql", "redis", "shop"}
    needed = {name for service in compose.values() for name in service.get("depends_on", {})}
    assert needed - compose.keys() == set()


def test_compose_listens_on_loopback_alone(compose):
    """Nothing is offered to the network that the machine is on."""
    ports = {
        (name, port["host_ip"], port["published"])
        for name, service in compose.items()
        for port in service.get("ports", ())
    }
    assert ports == {
        ("otelcol", "127.0.0.1", "4317"),
        ("otelcol", "127.0.0.1", "4318"),
        ("jaeger", "127.0.0.1", "16686"),
        ("prometheus", "127.0.0.1", "9090"),
        ("grafana", "127.0.0.1", "3000"),
    }


def test_compose_asks_each_service_how_it_is(compose):
    """But for the collector, whose image has nothing to ask with; another service asks it."""
    assert {name for name, service in compose.items() if "healthcheck" not in service} == {"otelcol"}


def test_compose_mounts_files_that_are_there(compose):
    """Docker would make an empty directory of each that is not."""
    mounted = [
        Path(volume["source"])
        for service in compose.values()
        for volume in service.get("volumes", ())
        if volume["type"] == "bind"
    ]
    assert [path for path in mounted if not path.exists()] == []


@pytest.mark.skipif(
    not shutil.which("docker")
    or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0,
    reason="docker has no compose here",
)
@pytest.mark.parametrize("profile", [(), ("--profile", "demo")], ids=["plain", "demo"])
def test_docker_compose_takes_its_file(profile):
    """The program itself, where it is installed."""
    assert said("docker", "compose", *profile, "config", "--quiet") == (0, "")
