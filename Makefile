# Everything runs in .venv, which the first target that needs it sets up; nothing has to be activated.

PYTHON ?= python3
# How many tests run at once: `make test WORKERS=0` runs them in one process. Most of them wait for something most of the
# time, so there are more than cores.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(8, 3 * os.cpu_count() // 2))')
# `make bench PEERS=0` installs no peers to be measured beside.
PEERS ?= 1
# More arguments for pytest (`make test ARGS="-k router -x"`), the benchmark, the suite on kind or scripts/lock.
ARGS ?=

BIN := .venv/bin
MEMBERS := libs/eventcore libs/contracts services/order services/inventory services/notification
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
say = @printf '» %s\n'

# What a shell has activated must not reach into .venv.
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo up test check contracts format bench images e2e soak sbom lock clean

help: ## Say what each target does.
	@sed -n 's/^\([a-z0-9]*\):.*## /\1	/p' Makefile | awk -F '\t' '{ printf "  make %-9s %s\n", $$1, $$2 }'

demo: .venv/.installed ## Run the whole system and replay orders through it (PRODUCTS= ORDERS= BASKETS= COUNT=).
	@$(BIN)/python -m demo

up: .venv/.installed ## Run the whole system and stay up until Ctrl-C.
	@$(BIN)/python -m demo up

test: .venv/.deploy ## Run all tests that need no cluster (WORKERS=, ARGS=).
	$(say) 'testing'
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

check: .venv/.deploy ## Check format, lint, types, contracts and architecture.
	$(say) 'checking format, lint, types, contracts and architecture'
	@scripts/check

contracts: .venv/.dev ## Write what is made from the events: schemas of new versions, AsyncAPI, docs/events.md.
	@$(BIN)/python -m scripts.contracts

format: .venv/.dev ## Format the code and mend what the linter can mend.
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

bench: .venv/.installed ## Run the benchmark beside all peers that can be installed (PEERS=0 asks for none, ARGS=).
	@[ '$(PEERS)' = 0 ] || scripts/peers
	@$(BIN)/python -m benchmarks $(ARGS)

images: ## Build the container images.
	@scripts/images

e2e: .venv/.deploy ## Run the suite on kind (ARGS=).
	@$(BIN)/python -m tests.e2e kind $(ARGS)

soak: .venv/.deploy ## Run the suite's load for hours, with disturbances (ARGS=).
	@$(BIN)/python -m tests.e2e soak $(ARGS)

sbom: .venv/.deploy ## Write what is in each image and wheel, as CycloneDX, to build/sbom.
	@scripts/sbom

lock: ## Write the locked requirements anew (ARGS="--upgrade").
	@PYTHON='$(PYTHON)' scripts/lock $(ARGS)

clean: ## Remove .venv, caches and build products.
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Python 3.11 or newer is needed, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -n 1)." >&2; \
	    echo 'Name another one: make PYTHON=python3.12 …' >&2; exit 1; }
	$(say) "making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear .venv || { rm -rf .venv; \
	    echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu it needs the package python3-venv." >&2; exit 1; }

# What the programs need; the tools of developers; the tools for deployment. Each stage stands on the one before.
.venv/.installed: .venv/bin/python requirements/runtime.txt $(MEMBERS:%=%/pyproject.toml)
	$(say) 'installing the locked dependencies'
	@$(INSTALL) --require-hashes -r requirements/runtime.txt || { $(pip_failed); }
	$(say) 'installing the libraries and services'
	@$(INSTALL) --no-deps --no-build-isolation $(MEMBERS:%=--editable ./%) || { $(pip_failed); }
	@touch $@

.venv/.dev: .venv/.installed requirements/dev.txt
	$(say) 'installing the tools for checks and tests'
	@$(INSTALL) --require-hashes -r requirements/dev.txt || { $(pip_failed); }
	@touch $@

.venv/.deploy: .venv/.dev requirements/deploy.txt
	$(say) 'installing the tools for chart, images and workflows'
	@$(INSTALL) --require-hashes -r requirements/deploy.txt || { $(pip_failed); }
	@touch $@

define pip_failed
echo 'pip could not install this; its own words are above. It needs a package index: the default one,' \
     'or a mirror named by PIP_INDEX_URL. Once that is mended, the same make command goes on from here.' >&2; exit 1
endef
