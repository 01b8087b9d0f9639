# Everything runs in .venv, which the first target that needs it creates from the pinned requirements.
# `make VENV=/some/where ...` uses another place, `make PYTHON=python3.12 ...` another interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help .venv demo test test-all check lint format results requirements clean

help:
	@echo "make demo          meta-train RL2 and MAML, judge them on held-out tasks, draw the figures (minutes)"
	@echo "make test          the tests, without the slow ones (minutes)"
	@echo "make test-all      all tests"
	@echo "make check         lint, the quick tests, and those of what changed since main (two minutes)"
	@echo "make lint          ruff and pyright"
	@echo "make format        let ruff rewrite the code"
	@echo "make results       write the tables of the README and docs/ from the result files in benchmarks/"
	@echo "make requirements  pin requirements.txt anew from pyproject.toml"
	@echo "make clean         delete caches and build output (not .venv, not runs)"

.venv: $(INSTALLED)

# The stamp is written last, so an interrupted installation is done again.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "adaptax needs Python 3.11 or newer; say which: make PYTHON=python3.11 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned requirements into $(VENV) (a few hundred MB, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/python benchmarks/demo.py

PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadgroup

test: $(INSTALLED)
	$(PYTEST) --durations=10

# What is trained for minutes is worth XLA's optimisations: these flags come after those of tests/conftest.py.
test-all: $(INSTALLED)
	XLA_FLAGS="--xla_backend_optimization_level=3 --xla_llvm_disable_expensive_passes=false" $(PYTEST) -m "slow or not slow"

# Files that take seconds; and of what differs from main, committed or not, the test that has the changed file's name.
QUICK := tests/ops tests/report tests/test_layers.py tests/test_docs.py tests/test_results.py tests/test_published.py
check: lint
	@base=$$(git merge-base HEAD main 2>/dev/null || echo HEAD); \
	names=$$({ git diff --name-only "$$base" -- src tests; git ls-files --others --exclude-standard src tests; } | \
		sed -n 's,.*/\(test_\)\{0,1\}\([a-z0-9_]*\)\.py$$,-o -name test_\2.py,p'); \
	$(PYTEST) --durations=5 $(QUICK) $$(find tests -name '' $$names)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

results: $(INSTALLED)
	$(BIN)/python benchmarks/results.py

# uv resolves for every platform and Python version at once, and takes one version for all where it can. It is
# needed here only, so it is not a requirement. No download address is written to the file.
requirements:
	@tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT && \
	$(PYTHON) -m venv "$$tools" && "$$tools/bin/pip" install --quiet --disable-pip-version-check uv && \
	"$$tools/bin/uv" pip compile pyproject.toml --no-config --extra dev \
		--universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
		--strip-extras --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make requirements" --quiet --output-file requirements.txt

clean:
	rm -rf build dist .pytest_cache .ruff_cache .jax_cache src/*.egg-info
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
