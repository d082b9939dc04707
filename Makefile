# Two commands matter: `make demo` and `make test`. Each sets up everything it needs.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
INSTALL := $(RUN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
SMOKE ?=

.NOTPARALLEL: # two pips must not write to one environment at once
.PHONY: help setup dev assets demo serve test check fmt clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

$(VENV)/.ready: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "error: Python 3.11 or newer is needed; set PYTHON=python3.x" >&2; exit 2)
	@$(PYTHON) -m venv $(VENV) || (echo "error: no venv module; on Debian or Ubuntu: apt install python3-venv" >&2; exit 2)
	$(INSTALL) torch torchvision
	$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.ready
	$(INSTALL) -e '.[dev]'
	@touch $@

setup: $(VENV)/.ready ## make the virtual environment (.venv) with pinned packages

dev: $(VENV)/.dev ## add what tests and checks need

assets: setup ## fetch and convert the embedded weights and the clip art (once, then offline)
	$(RUN)/navigator fetch all

demo: setup ## run the main job on the embedded default (SMOKE=1: a tenth of it)
	$(RUN)/navigator demo $(if $(SMOKE),--smoke)

serve: ## serve what the demo made, with a page for people at http://127.0.0.1:8000/
	@test -d runs/demo/index || (echo "error: nothing to serve yet; run make demo first" >&2; exit 2)
	$(RUN)/navigator serve --model runs/demo/model --index runs/demo/index --catalog runs/demo/catalog \
		--native runs/demo/native --events runs/demo/events

test: dev assets ## run the tests, two files at a time
	$(RUN)/python -m pytest -q -n 2 --dist loadfile

check: dev ## lint, types, layering
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/pyright --pythonpath $(RUN)/python
	$(RUN)/lint-imports

fmt: dev ## format the code
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

clean: ## remove the environment, runs and caches (the fetched assets stay in .cache)
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .ruff_cache .import_linter_cache
