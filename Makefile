# All commands of this project. `make help` lists them.
# ARGS are further arguments of `demo`, `ui` and `chaos`, for example ARGS="--port 5001".
PYTHON ?= python3
BIN := .venv/bin
PIP = $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
EXTRAS ?= dev,cluster,docs
UV = $(BIN)/python -m uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
COMPILE = $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate
PYTEST = $(BIN)/python -m pytest --numprocesses auto --dist worksteal
STAMP := .venv/.installed
DRAWN := docs/pictures/results/.drawn
# Without bytecode files every process compiles torch and MLflow again: 8.7 s instead of 3.4 s to
# start, and a test run starts hundreds of processes. The empty value has the effect of unset.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test test-all all-tests check bench bench-quick results chaos sbom licences lock audit product format docs ui clean
.DEFAULT_GOAL := help

help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## create .venv and install, if that has not been done

# pip installs torch first and alone, so that no other package selects a different build of it. uv
# takes a third of pip's time for the rest, but does not read pip's configuration of indexes: where
# it fails, pip installs.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch uv
	$(UV) --editable '.[$(EXTRAS)]' || $(PIP) --editable '.[$(EXTRAS)]'
	touch $(STAMP)

demo: setup ## compare the original design axes on a GAN that learns; about 5 minutes on 2 cores
	$(BIN)/textgan study experiments/studies/demo.toml --workers 2 $(ARGS)

test: check ## check, then run the tests that are not marked slow
	$(PYTEST) -m "not slow"

test-all: check all-tests ## check, then run all tests; with --jobs=2 both at once

all-tests: setup
	$(PYTEST)

check: setup ## run formatter, linter, type checker and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: setup ## run all benchmarks; one JSON document per measure
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.corpus_build
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.leaderboard
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.billion

bench-quick: setup ## run the speed benchmarks at batch size 16; under 6 minutes
	@$(BIN)/python -m benchmarks.speed --quick

results: setup ## render RESULTS.md, its figures, docs/model_card.md, docs/reproduction.md, docs/metrics_laboratory.md and docs/inference.md from results/
	@$(BIN)/python -m docs.results results RESULTS.md --pictures docs/pictures/results --card docs/model_card.md --numbers docs/reproduction.md --laboratory docs/metrics_laboratory.md --inference docs/inference.md
	@touch $(DRAWN)

product: setup ## train every valid combination of strategies for three updates; hours, resumable
	$(BIN)/python -m tests.product

chaos: setup ## inject faults (kills, outages, full disks, damaged files); hours, resumable
	$(BIN)/python -m tests.chaos --long --record chaos.jsonl $(ARGS)

sbom: setup ## print a CycloneDX bill of materials of the environment
	@$(PIP) cyclonedx-bom
	@$(BIN)/python -m cyclonedx_py environment --pyproject pyproject.toml --output-reproducible

licences: setup ## print name, version and licence of every installed package
	@$(BIN)/python -m piplicenses --with-system --format=markdown

# Pinned versions are kept; `make lock UPGRADE=--upgrade` takes the newest.
lock: setup ## write constraints.txt (pins) and constraints.lock (pins with hashes)
	$(COMPILE) $(UPGRADE) pyproject.toml --all-extras --no-emit-package pip --output-file constraints.txt
	$(COMPILE) constraints.txt --no-deps --generate-hashes --output-file constraints.lock

audit: setup ## check that the installed packages fit together, and look for known vulnerabilities
	$(PIP) pip-audit
	$(BIN)/python -m pip check
	$(BIN)/python -m pip_audit --strict --requirement constraints.lock --disable-pip --progress-spinner off

format: setup ## format the code and apply the linter's fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: setup ## open the MLflow UI on ./mlruns
	$(BIN)/textgan ui $(ARGS)

docs: setup $(DRAWN) ## build the documentation, site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open site/index.html, or: $(BIN)/python -m mkdocs serve"

# The figures are drawn if they are missing or a summary is newer; `make results` always draws them.
$(DRAWN): $(wildcard results/*.json results/*/*.json)
	$(MAKE) results

clean: ## remove the environment, caches and build output; runs and studies stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
