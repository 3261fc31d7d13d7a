# Everything a person does here. `make help` lists the targets.
# ARGS are further arguments of `demo`, `ui` and `chaos`, such as ARGS="--port 5001".
PYTHON ?= python3
BIN := .venv/bin
PIP = $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
COMPILE = $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate
STAMP := .venv/.installed
DRAWN := docs/pictures/results/.drawn
# Where the surroundings forbid Python to keep what it compiles, every process compiles torch and
# MLflow anew: 8.7 s for 3.4 to begin, and a test run begins hundreds. Empty is as if unset.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test check bench bench-quick results chaos sbom licences lock audit product format docs ui clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## create .venv and install, unless that was done

# torch goes first and alone, so that nothing pulls another build of it.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) --editable '.[dev,cluster,docs]'
	touch $(STAMP)

demo: setup ## the ablation study of three design axes, under 10 minutes on 2 cores
	$(BIN)/textgan study experiments/studies/design_axes.toml --workers 2 $(ARGS)

test: check ## formatter, linter, types, import contract, tests
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

check: setup ## the same without the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: setup ## what backs the speed claims, one JSON document a measure
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.corpus_build
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.leaderboard
	$(BIN)/python -m benchmarks.stacked
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.billion

bench-quick: setup ## the speed measures at batch 16, within 6 minutes
	@$(BIN)/python -m benchmarks.speed --quick

results: setup ## RESULTS.md, its figures, the model card and docs/reproduction.md, from results/
	@$(BIN)/python -m studies.results results RESULTS.md --pictures docs/pictures/results --card docs/model_card.md --numbers docs/reproduction.md
	@touch $(DRAWN)

product: setup ## every accepted combination of strategies trains three updates; hours, resumable
	$(BIN)/python -m tests.product

chaos: setup ## faults on purpose, the long form: hours, resumable; one line a fault
	$(BIN)/python -m tests.chaos --long --record chaos.jsonl $(ARGS)

sbom: setup ## every installed package with its licence, as CycloneDX on standard output
	@$(PIP) cyclonedx-bom
	@$(BIN)/python -m cyclonedx_py environment --pyproject pyproject.toml --output-reproducible

licences: setup ## name, version and licence of every installed package
	@$(BIN)/python -m piplicenses --with-system --format=markdown

# Versions that are pinned stay; `make lock UPGRADE=--upgrade` takes the newest.
lock: setup ## constraints.txt, a pin for each package, and constraints.lock, with hashes
	$(PIP) uv
	$(COMPILE) $(UPGRADE) pyproject.toml --all-extras --no-emit-package pip --output-file constraints.txt
	$(COMPILE) constraints.txt --no-deps --generate-hashes --output-file constraints.lock

audit: setup ## installed packages fit together; known vulnerabilities of what is locked
	$(PIP) pip-audit
	$(BIN)/python -m pip check
	$(BIN)/python -m pip_audit --strict --requirement constraints.lock --disable-pip --progress-spinner off

format: setup ## put the code into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: setup ## the MLflow UI on ./mlruns
	$(BIN)/textgan ui $(ARGS)

docs: setup $(DRAWN) ## the documentation as a site, site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open site/index.html, or: $(BIN)/python -m mkdocs serve"

# Figures are drawn once, and again when a summary changes; `make results` always draws them.
$(DRAWN): $(wildcard results/*.json results/*/*.json)
	$(MAKE) results

clean: ## remove what can be made again; runs and studies stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
