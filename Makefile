# Two commands for a fresh machine: `make demo` and `make test`. Everything is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := src tests benchmarks docs
DATA ?= ../shared/data/hippocampus
MASK ?= $(DATA)/labelsTr/hippocampus_001.nii.gz

.PHONY: help setup demo demo-short test test-slow check format gallery reference bench bench-prepare bench-maps bench-losses bench-metrics bench-methods bench-prediction bench-regions bench-train clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.installed  ## create .venv and install what the program needs

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Edgewise needs Python 3.11 or newer; call make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e . -c constraints.txt
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,dev]' -c constraints.txt
	@touch $@

demo: setup  ## make phantoms, train two losses, compare them, write report.html
	$(BIN)/edgewise demo --out demo

demo-short: $(VENV)/.tested  ## the same with few cases and steps: does the whole road still hold?
	rm -rf build/demo
	$(BIN)/edgewise demo --out build/demo --cases 6 --steps 12
	test -s build/demo/report.html

test: $(VENV)/.tested  ## run the tests
	$(BIN)/python -m pytest -q -n 2

test-slow: $(VENV)/.tested  ## run the tests that take minutes
	$(BIN)/python -m pytest -q -m slow

check: $(VENV)/.tested  ## lint, formatting, types, layers
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.tested  ## mend lint and formatting
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

gallery: setup  ## draw docs/explanation/maps.md and its pictures, with MASK=FILE
	$(BIN)/python docs/gallery.py $(MASK)

reference: setup  ## write docs/reference/losses.md and maps.md from the catalogues, and the tables of definitions
	$(BIN)/python docs/components.py
	$(BIN)/python docs/definitions.py

bench: bench-prepare bench-maps bench-losses bench-metrics bench-methods bench-prediction bench-regions bench-train  ## all benchmarks

bench-prepare: $(VENV)/.tested  ## resampling against SciPy, scikit-image and MONAI
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]' -c constraints.txt
	$(BIN)/python benchmarks/prepare.py

bench-maps: $(VENV)/.installed  ## distance maps against the recipes of the papers' public code
	$(BIN)/python benchmarks/maps.py

bench-losses: $(VENV)/.installed  ## losses against MONAI
	$(BIN)/python benchmarks/losses.py

bench-metrics: $(VENV)/.tested  ## metrics against MONAI, surface-distance and MedPy
	$(BIN)/python benchmarks/metrics.py

bench-prediction: $(VENV)/.installed  ## prediction with and without what only training needed (LR-Net, a second decoder)
	$(BIN)/python benchmarks/prediction.py

bench-methods: $(VENV)/.installed  ## training steps with LR-Net against those without
	$(BIN)/python benchmarks/methods.py

bench-regions: $(VENV)/.installed  ## prediction by L-SNet against sliding the same network; trains both first
	$(BIN)/python benchmarks/regions.py

bench-train: $(VENV)/.installed .venv-bench/.installed  ## preparation, training and prediction against nnU-Net v2, with DATA=FOLDER
	$(BIN)/python benchmarks/train.py --data $(DATA)

.venv-bench/.installed: benchmarks/constraints-nnunet.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check nnunetv2 -c $<
	@touch $@

clean:  ## remove what make made
	rm -rf $(VENV) .venv-bench demo
