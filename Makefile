# Everything works from a fresh clone: the first target that needs it makes .venv.

VENV := .venv
BIN := $(VENV)/bin
# The first of these that really runs. Override with `make install PYTHON=...`.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3.14 python3,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
# Without an NVIDIA GPU pip takes a CPU-only build where it can see one (CONTRIBUTING.md says how to show it one).
TORCH := torch$(if $(shell nvidia-smi -L 2>/dev/null),!=2.13.0+cpu)
# Test processes; each keeps to one thread (tests/conftest.py). A file of tests stays in one process.
WORKERS ?= auto
OUT ?= runs/demo

.PHONY: help install demo test check format bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/installed ## Make .venv with everything in it (run by the other targets as needed)

$(VENV)/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Sparring needs Python 3.11 or newer on PATH; none was found" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt '$(TORCH)'
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[local,dev]'
	@touch $@

demo: install ## Train the embedded model to ask better questions, and show how much better they got
	$(BIN)/sparring run star-gate --out $(OUT)

test: install ## Run the tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: install ## Format, lint and types, changing nothing
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright

format: install ## Format and mend what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: install ## Measure the engine, the scorer, the driver and the start-up
	$(BIN)/python -m bench $(ARGS)

clean: ## Remove .venv and caches; runs stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist

.DEFAULT_GOAL := help
