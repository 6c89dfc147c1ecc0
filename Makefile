# Two commands do everything on a fresh machine with Python 3.11+, pip and make: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8080
STORE ?= sqlite:///demo.db
HTTPS ?=
PYTEST_ARGS ?=
LOWEST := .venv-lowest
LOWEST_TESTS ?= tests

.PHONY: help install install-lowest demo test test-all test-lowest lint types docs package bench mutants screenshots clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# Each set of dependencies is installed once, and again when pyproject.toml changes.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

DEMO := $(VENV)/.installed-demo,dbsc,redis,postgres
TEST := $(VENV)/.installed-test,e2e,demo,dbsc,redis,postgres
LINT := $(VENV)/.installed-lint
DOCS := $(VENV)/.installed-docs,dbsc,redis,postgres
PACKAGE := $(VENV)/.installed-package
CHECKS := $(TEST) $(LINT) $(DOCS) $(PACKAGE)

# At once, so that targets which share the environment can run beside each other afterwards.
install: pyproject.toml | $(BIN)/python ## install what tests and checks need
	$(BIN)/python -m pip install --quiet $(patsubst $(VENV)/.installed-%,--editable '.[%]',$(CHECKS))
	@touch $(CHECKS)

install-lowest: $(LOWEST)/.installed

demo: $(DEMO) ## run the demo server on the embedded SQLite store (STORE=redis://... or postgresql://... for another; HTTPS=1)
	$(BIN)/python -m demo --host $(HOST) --port $(PORT) --store '$(STORE)' $(if $(HTTPS),--https)

test: $(TEST) ## run the tests, with the coverage gate
	$(BIN)/python -m pytest -m 'not long' --cov --cov-report=term --cov-fail-under=100 $(PYTEST_ARGS)

test-all: $(TEST) ## run the tests, the long ones too
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# Exactly the lowest versions that pyproject.toml names, in an environment of their own.
$(LOWEST)/.installed: pyproject.toml tests/lowest.py
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --upgrade pip
	$(LOWEST)/bin/python -m tests.lowest test demo redis postgres > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --constraint $(LOWEST)/constraints.txt --editable '.[test,demo,redis,postgres]'
	@touch $@

test-lowest: $(LOWEST)/.installed ## run the tests on the lowest versions of everything that pyproject.toml names
	$(LOWEST)/bin/python -m pytest -m 'not long and not e2e' $(strip $(LOWEST_TESTS)) $(PYTEST_ARGS)

lint: $(LINT) ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TEST) $(LINT) ## check types
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/ty check --python $(BIN)/python tests/typing/checks.py
	$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python

docs: $(DOCS) ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

package: $(TEST) $(PACKAGE) ## build what is published, and try it as a user gets it
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/check-wheel-contents dist
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/python -m tests.packaged dist

bench: $(VENV)/.installed-test,bench,redis,postgres ## run the benchmarks
	$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

# One module: make mutants MUTANTS='aiohttp_spry_session.codec*'
mutants: $(TEST) $(VENV)/.installed-mutants ## change the code in thousands of ways, see whether the tests notice (hours)
	$(BIN)/python -m tests.mutants $(foreach pattern,$(MUTANTS),'$(pattern)')

screenshots: $(TEST) ## take the documentation's pictures of the demo again
	$(BIN)/python -m tests.e2e.screenshots

clean: ## remove what was built
	rm -rf $(VENV) $(LOWEST) build dist docs/_build .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis mutants
