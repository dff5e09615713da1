# Needs python3 with venv, and make. Network: only while packages are installed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dask,dev,docs,web
# A test process that died is not begun again: what waits for its tests then waits for ever.
PYTEST_ARGS ?= -n 2 --dist loadfile --max-worker-restart 0
BIN := $(VENV)/bin
# A package folder named alembic/ in the working directory must not hide the library.
export PYTHONSAFEPATH := 1
# Workers start far faster from compiled modules.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo install test lint format docs bench clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.installed  ## install, then a whole search on simulated stars, offline
	$(BIN)/vo demo

install: $(VENV)/.developer  ## install with everything a developer needs

test: $(VENV)/.developer  ## the test suite
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.developer  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.developer  ## put the style right where a program can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.developer  ## the manual, in docs/_build/html
	PYTHONPATH=docs $(BIN)/python docs/generate.py
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html

bench: $(VENV)/.developer  ## every benchmark
	failed=; for script in benchmarks/bench_*.py; do echo "== $$script"; \
	  PYTHONPATH=benchmarks $(BIN)/python "$$script" || failed="$$failed $$script"; done; \
	  test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

clean:  ## remove what make made; results/ and catalogs/cache/ stay
	rm -rf $(VENV) build dist docs/_build docs/generated
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks docs alembic -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps depend on what decides the packages, so that an edit there installs anew and nothing else does.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: set PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "Python's venv module is missing. On Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[web]'
	touch $@

$(VENV)/.developer: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@ $(VENV)/.installed
