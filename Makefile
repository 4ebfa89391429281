# Customer 360. `make help` lists what there is; every target does its own set-up.
# Needs Python 3.11 or newer and nothing else; PYTHON=python3.12 chooses another one.

PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
    $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
CODE   := shared gateway services infra
ARGS   ?=
COMPILE = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --quiet \
          --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

# pytest-xdist workers: one more than cores, as some tests mostly wait for what they kill and start.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')

.DEFAULT_GOAL := help
.PHONY: help setup up test check format lock bench chaos fuzz demo

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## virtual environment with the locked dependencies; starts nothing

# The stamp is newer than what it was made from, so nothing is done while nothing changed.
$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Customer 360 needs Python 3.11 or newer; none was found, so set PYTHON=/path/to/python3."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

up: $(STAMP) ## start everything in one process; prints `ready http://...`
	@exec $(BIN)/c360 up $(ARGS)

test: $(STAMP) ## all tests, with a real PostgreSQL and a real RabbitMQ
	$(BIN)/python -m infra.testing -- $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q $(ARGS)

check: $(STAMP) ## lint, format, types, import rules, generated contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/c360 schemas --check

format: $(STAMP) ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(STAMP) ## compile requirements.lock from pyproject.toml (wants uv)
	$(COMPILE) --extra dev -o requirements.lock
	$(COMPILE) --extra build --constraint requirements.lock -o infra/docker/requirements.lock

bench: $(STAMP) ## measure against the yardsticks (ARGS="--quick --only P1")
	$(BIN)/python -m infra.bench $(ARGS)

chaos: $(STAMP) ## kill parts under load, the long form
	C360_LONG=1 $(BIN)/python -m infra.testing -- $(BIN)/python -m pytest tests/chaos -q $(ARGS)

fuzz: $(STAMP) ## hostile input and a crowd on the ledger, the long form
	C360_LONG=1 $(BIN)/python -m infra.testing -- $(BIN)/python -m pytest tests/fuzz \
	    tests/loyalty/ledger/test_machine.py tests/loyalty/ledger/test_concurrency.py -q $(ARGS)

demo: $(STAMP) ## fill the running system (C360_URL, C360_KEY) with made customers
	@exec $(BIN)/c360 demo $(ARGS)
