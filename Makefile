# What a newcomer, a developer and CI run. Needs GNU make, Python 3.11 or newer with venv, and a way to PyPI.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
DEMO_STAMP := $(VENV)/.installed-demo
DEV_STAMP := $(VENV)/.installed-dev
BENCH_STAMP := $(VENV)/.installed-bench
PYTEST_ARGS ?=
BENCH_ARGS ?=

.PHONY: help demo test check bench deep clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: $(DEMO_STAMP)  ## the product on real traffic; ONCE=1: no terminal, under a minute, checked, exits
	@$(BIN)/residency demo $(if $(ONCE),--once)

test: $(DEV_STAMP)  ## every test whose outside tools can be had; PYTEST_ARGS=… is handed on
	@scripts/test-tiers $(BIN)/python
	@scripts/test $(BIN)/python $(PYTEST_ARGS)

check: $(DEV_STAMP)  ## lint, format, types, import layers
	@echo "==> ruff check"
	@$(BIN)/ruff check .
	@echo "==> ruff format --check"
	@$(BIN)/ruff format --check .
	@echo "==> mypy --strict"
	@$(BIN)/mypy
	@echo "==> import layers"
	@$(BIN)/lint-imports

bench: $(BENCH_STAMP)  ## what each part costs beside its peers (some minutes); BENCH_ARGS="stage --quick"
	@scripts/test-tiers $(BIN)/python
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

deep: $(DEV_STAMP)  ## long property and fault runs, and the oldest libraries allowed; CASES=1000000: how often decide is held against the oracle
	@scripts/test-tiers $(BIN)/python
	@HYPOTHESIS_PROFILE=deep RESIDENCY_CASES=$(or $(CASES),1000000) scripts/test $(BIN)/python -m "slow or not slow" --timeout 1800 $(PYTEST_ARGS)
	@scripts/test-oldest .tools/oldest

clean:  ## remove what the targets above made; sources stay
	@rm -rf $(VENV) .tools demo-data build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@scripts/make-venv $(VENV)

$(DEMO_STAMP): pyproject.toml | $(BIN)/python
	@echo "==> installing residency with what the demo needs into $(VENV) (a minute the first time)"
	@$(PIP) install --editable '.[demo]'
	@touch $@

$(DEV_STAMP): pyproject.toml | $(BIN)/python
	@echo "==> installing residency with its development tools into $(VENV) (a minute or two the first time)"
	@$(PIP) install --editable '.[dev]'
	@touch $@ $(DEMO_STAMP)

$(BENCH_STAMP): $(DEV_STAMP)
	@echo "==> installing the peers that are measured beside us into $(VENV) (some are built by a C compiler)"
	@$(PIP) install --editable '.[bench]'
	@touch $@
