# One entry for people and for CI. Nothing is installed outside this folder, but for Debian's
# own packages (python3-venv, nodejs, npm) when they are missing and the user may install them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
STAMP := $(VENV)/.ready
SCENARIO ?= default
PYTEST_ARGS ?=
# Tests often wait, so that each processor has time for more than one; a file is one worker's, the long ones come first.
WORKERS ?= $(shell echo $$(( ($$(nproc) * 3 + 1) / 2 )))
WIDE = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
export PATH := $(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible

# Neither make nor pip's scripts can quote such a path.
ifneq ($(words $(CURDIR)),1)
$(error The path '$(CURDIR)' has a blank in it, which make and virtual environments cannot work with. \
Next step: move the checkout to a folder without blanks in its path)
endif

.PHONY: help setup demo test test-docker docker-tests docker-scenarios test-long lint sanity bench faults \
        egress-table troubleshooting coverage molecule clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## Make the virtual environment and the collection's path
	@mkdir -p .cache/ansible_collections/selfhosted
	@test -L .cache/ansible_collections/selfhosted/bitwarden || rm -rf .cache/ansible_collections/selfhosted/bitwarden
	@ln -sfn ../../.. .cache/ansible_collections/selfhosted/bitwarden

$(STAMP): $(wildcard tests/requirements/*.txt)
	@tests/tools/setup.sh "$(PYTHON)" "$(VENV)"
	@touch $@

demo: setup ## See the whole help page done on two servers, US and EU
	@$(BIN)/python tests/demo.py

test: setup ## Lint, sanity, Molecule's scenario default, and the tests that need no Docker
	@tests/tools/setup.sh "$(PYTHON)" "$(VENV)" npm
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint sanity molecule
	$(BIN)/python -m pytest $(WIDE) -m "not long and not docker" tests/integration tests $(PYTEST_ARGS)

# Machines boot, servers start and firewalls time out: two processors have time for three of these at once.
test-docker: setup ## The tests on a real Docker engine: needs root, installs what is missing
	@tests/tools/setup.sh "$(PYTHON)" "$(VENV)" docker
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target docker-tests docker-scenarios

docker-tests: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m docker tests/docker $(PYTEST_ARGS)

docker-scenarios: setup
	$(BIN)/molecule test -s docker
	$(BIN)/molecule test -s egress

test-long: setup ## The tests that take minutes
	$(BIN)/python -m pytest -m "long and not docker" $(PYTEST_ARGS)

lint: setup ## ansible-lint, yamllint, ruff, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy plugins tests/lab/bwlab
	$(BIN)/yamllint --strict .
	$(BIN)/ansible-lint --offline --strict --profile production

sanity: setup ## ansible-test sanity, all tests, no ignores
	tests/tools/sanity.sh

bench: setup ## Measure; writes tests/bench/results.json
	$(BIN)/python tests/bench/bench.py

faults: setup ## Inject every fault, on the host's and the API's side, and write docs/faults.md
	$(BIN)/python tests/integration/faults_table.py

egress-table: setup ## See what each firewall's backend opens, and write the table of docs/egress.md; needs root
	@tests/tools/setup.sh "$(PYTHON)" "$(VENV)" docker
	EGRESS_TABLE=write $(BIN)/python -m pytest tests/docker/test_egress_world.py

troubleshooting: setup ## Write docs/troubleshooting.md from the catalog of remedies
	$(BIN)/python tests/tools/troubleshooting.py

coverage: setup ## Branch coverage of the plugins, modules in subprocesses included
	tests/tools/coverage.sh

molecule: setup ## Run one Molecule scenario: make molecule SCENARIO=default
	$(BIN)/molecule test -s $(SCENARIO)

clean: ## Remove everything that these targets made
	@rm -rf .cache .venv .mypy_cache .pytest_cache .ruff_cache .coverage* tests/output tests/bench/results.json
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
