# Every target sets up what it needs; the environment is redone only when the lock changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

# Where perf-baseline and perf-gate keep what they measure, and which source tree they measure.
PERF ?= perf
TREE ?= .

.PHONY: setup demo test lint bench bench-client bench-router perf-baseline perf-gate prove lock clean help

help:
	@echo "make demo [QUICK=1]  set up, run the main job on the embedded engine, print the verdict"
	@echo "make test            set up, lint, types, every test"
	@echo "make lint            ruff, mypy --strict, import rules"
	@echo "make bench           benchmarks (pytest-benchmark and paired runs)"
	@echo "make bench-client    how far off the load generator's clock is, beside other tools where installed"
	@echo "make bench-router    what the router costs, beside nginx and LiteLLM where installed"
	@echo "make perf-baseline   measure TREE=. as what the gate compares with, into PERF=perf"
	@echo "make perf-gate       measure TREE=. and fail where first tokens got slower than that"
	@echo "make prove           the long evidence, written to docs/evidence/"
	@echo "make setup           only set up $(VENV)"
	@echo "make lock            resolve both locks anew (needs uv)"
	@echo "make clean           remove $(VENV) and caches, keep runs/"

setup: $(STAMP)

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("firsttoken needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# 0 whenever a verdict was reached: FAIL (1), INCONCLUSIVE (3) and UNTRUSTED (4) are verdicts too, and make
# cannot pass a code on.
demo: setup
	@$(BIN)/firsttoken demo $(if $(QUICK),--quick); code=$$?; \
	case $$code in 0|1|3|4) exit 0;; *) exit $$code;; esac

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest

bench: setup
	$(BIN)/python -m pytest benchmarks -o addopts=

# Fails outside of the budgets. GUIDELLM, GENAI_BENCH and AIOHTTP name virtual environments that have
# these tools; WRITE=1 keeps the result in docs/evidence/client.md.
bench-client: setup
	GUIDELLM=$(GUIDELLM) GENAI_BENCH=$(GENAI_BENCH) AIOHTTP=$(AIOHTTP) \
	$(BIN)/python -m benchmarks.client all $(if $(WRITE),--write)

# Fails outside of the router's budgets. LITELLM=path names a LiteLLM that is not on the path.
bench-router: setup
	$(BIN)/python -m benchmarks.router $(if $(LITELLM),--litellm $(LITELLM))

# A stored baseline of a tree and this machine's noise, then the gate; see docs/gate.md.
perf-baseline: setup
	$(BIN)/python -m benchmarks.perf baseline $(PERF) --tree $(TREE)

perf-gate: setup
	$(BIN)/python -m benchmarks.perf gate $(PERF) --tree $(TREE) $(GATE_OPTIONS)

prove: setup
	$(BIN)/python -m firsttoken.trials.prove

# requirements-run.lock is the part that runs, for the image: without the tools of development.
lock:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --quiet --output-file requirements.lock
	uv pip compile pyproject.toml --constraint requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --quiet --output-file requirements-run.lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
