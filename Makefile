# `make demo` and `make test` set up everything they need on a fresh machine; a second call is quick.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BENCHMARKS := $(filter-out benchmarks/measuring.py benchmarks/supervised.py, $(sort $(wildcard benchmarks/*.py)))
DEMO_PICTURES := test_00002 test_00029 test_00040
export TF_CPP_MIN_LOG_LEVEL ?= 2

# Folders that `make demo` fills; those without its mark are somebody's own, and stay.
DEMO_FOLDERS := runs/demo savedmodels/demo
DEMO_MARK := .made-by-make-demo
define remove_demo
	@for folder in $(DEMO_FOLDERS); do if [ -e $$folder ] && [ ! -e $$folder/$(DEMO_MARK) ]; then \
		echo "$$folder was not made by make demo: move it away."; exit 1; fi; done
	rm -rf $(DEMO_FOLDERS)
endef

.PHONY: help demo test fuzz lint docs bench abuse test-gpu clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   synthesize crowds, train, evaluate, export and count: about 5 minutes on 2 cores"
	@echo "make test   the tests"
	@echo "make fuzz   damaged data sets of every format, a minute each"
	@echo "make lint   ruff and mypy"
	@echo "make docs   the documentation, with all its links checked: docs/_build/html/index.html"
	@echo "make bench  every claim about speed or memory: adds PyTorch, about 10 minutes"
	@echo "make abuse  kills commands at random moments, and starts two at once: about 10 minutes on 2 cores"
	@echo "make test-gpu  what needs a graphics card"
	@echo "make clean  remove the virtual environment, the demo's outputs and the documentation that was built"

$(VENV)/.installed: setup.cfg setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "tfcount needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d: call make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

# From nothing to counts in new pictures: crowds are rendered, a counter is trained on them, measured on crowds that it
# has not seen, exported and used.
demo: $(VENV)/.installed data/demo/manifest.json
	$(remove_demo)
	mkdir -p $(DEMO_FOLDERS) && touch $(addsuffix /$(DEMO_MARK),$(DEMO_FOLDERS))
	$(BIN)/python -m tfcount.train --flagfile=configs/studies/demo/demo.flags --model_dir=runs/demo
	$(BIN)/python -m tfcount.evaluate --model_dir=runs/demo
	$(BIN)/python -m tfcount.export --model_dir=runs/demo --output=savedmodels/demo
	mkdir -p runs/demo/pictures
	for id in $(DEMO_PICTURES); do $(BIN)/python -m tfrecords_tools.show data/demo --split=test --id=$$id --nopoints --out=runs/demo/pictures/$$id.jpg; done
	$(BIN)/python -m tfcount.predict --savedmodel=savedmodels/demo --output=runs/demo/overlays runs/demo/pictures
	@$(BIN)/python -c 'import json; e = json.load(open("runs/demo/evaluation.json")); print("\nMAE %.1f on %d crowds that the counter has not seen; always answering the mean count gives %.1f.\nPictures: runs/demo/evaluation.png and runs/demo/overlays/   Curves: $(BIN)/tensorboard --logdir=runs/demo" % (e["mae"], e["images"], e["mean_count_mae"]))'

data/demo/manifest.json: | $(VENV)/.installed
	$(BIN)/python -m tfrecords_tools.synthesize --output=data/demo --train_images=500

# Two files at a time: most of what a test takes is one core's work, and tests of a file share runs and graphs.
test: $(VENV)/.installed
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

# The same damages at every call, and as many as a minute a format allows.
fuzz: $(VENV)/.installed
	$(BIN)/python -m pytest -q -m fuzz tests/tfrecords_tools/annotations

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/mypy

# Warnings are errors, and links that lead nowhere are warnings.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html docs docs/_build/html
	@echo "Written: docs/_build/html/index.html"

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,docs]"
	@touch $@

# Every benchmark runs, also after one that misses its bound; the last line of each tells.
bench: $(VENV)/.bench
	@failed=0; for script in $(BENCHMARKS); do \
		echo "$(BIN)/python $$script"; $(BIN)/python $$script || failed=1; echo; \
	done; exit $$failed

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,bench]"
	@touch $@

# No part of the tests: it takes long, and the moments at which it kills differ with the machine.
abuse: $(VENV)/.installed
	$(BIN)/python tests/abuse.py

test-gpu: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,gpu]"
	$(BIN)/python -m pytest -q -m gpu

clean:
	$(remove_demo)
	@if [ -e data/demo ] && ! grep -q '"dataset": "synthetic"' data/demo/manifest.json; then \
		echo "data/demo was not made by make demo: move it away."; exit 1; fi
	rm -rf $(VENV) data/demo docs/_build docs/generated
