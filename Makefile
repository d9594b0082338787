# Everything starts with bootstrap: on a bare Debian 12 with git and make, `make demo` is the only command to know.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help bootstrap browser demo test k6 bench lint types imports check faults corpus mutations clean
# Two workers; tests/conftest.py says what stays together on one of them.
WORKERS ?= 2
SEED ?= 1
SCENARIO ?= full
PYTEST := .venv/bin/pytest -n $(WORKERS) --dist loadfile

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

bootstrap: ## Install what is missing (Debian packages, Python environment, jars)
	@deploy/local/bootstrap.sh

browser: ## Install what is missing, and Chromium for tests that upload from a page (290 MB; make test does this)
	@deploy/local/bootstrap.sh browser

demo: bootstrap ## Run the whole pipeline on real photos and a real video (KEEP=1 leaves the stack up)
	@KEEP=$(KEEP) .venv/bin/medialane demo

test: browser ## Run every test
	@$(PYTEST) $(TESTS)

k6: bootstrap ## Load the upload path of the stack that runs, with k6 if it is installed (ARGS="-e VUS=4 -e HOLD=20s")
	@k6/run.sh $(ARGS)

bench: bootstrap ## Measure the whole pipeline; writes build/bench.json
	@.venv/bin/medialane bench

lint: bootstrap ## Check style and format
	@.venv/bin/ruff check && .venv/bin/ruff format --check

types: bootstrap ## Check types
	@.venv/bin/mypy

imports: bootstrap ## Check which way the imports point
	@.venv/bin/lint-imports

check: lint types imports ## All checks that need no stack

faults: bootstrap ## Break everything under load and see that nothing is lost or done twice (SEED=1; SCENARIO=full, at-least-once, patient, cluster or kafka-loses)
	@PYTHONPATH=tests/faults .venv/bin/python -m harness.run --scenario $(SCENARIO) --seed $(SEED)

corpus: bootstrap ## Collect files that others made from the registries' packages, and process them all
	@.venv/bin/python tests/corpus/collect.py .local/corpus
	@$(PYTEST) tests/integration/processors/test_collected.py

mutations: bootstrap ## Process some 5,000 files with random damage (SEED=1 changes the damage)
	@SEED=$(SEED) MUTATIONS=27 $(PYTEST) --dist load --timeout 0 tests/integration/processors/test_mutations.py

# Some data of a stack of root's may lie outside of its folder: the stack knows where.
clean: ## Stop the stacks of this folder and delete everything that was made here
	@if [ -x .venv/bin/medialane ]; then for state in .local/stack/*/state.json; do \
	  [ ! -f "$$state" ] || .venv/bin/medialane stack down --purge --dir "$${state%/state.json}" || exit 1; done; fi
	rm -rf .local build dist .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
