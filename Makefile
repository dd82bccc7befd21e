# `make demo` and `make test` set up everything they need on a fresh machine; a second call is quick.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test lint clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo   synthesize crowds, train, evaluate, export and count: about 5 minutes on 2 cores"
	@echo "make test   the tests"
	@echo "make lint   ruff and mypy"
	@echo "make clean  remove the virtual environment and the demo's outputs"

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "tfcount needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d: call make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: $(VENV)/.installed
	@PATH="$(abspath $(BIN)):$$PATH" sh demo.sh

test: $(VENV)/.installed
	$(BIN)/python -m pytest -q

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) runs/demo data/demo savedmodels/demo
