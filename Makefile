# Everything a developer runs. `make` alone lists the targets.
#
# The first target that needs Python creates $(VENV) from requirements.lock; nothing has to be activated.

PYTHON ?= python3
VENV ?= .venv
BUILD := build

BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
INSTALLED := $(VENV)/.installed
PEERS := $(BUILD)/peers
XENALYZE := $(PEERS)/usr/bin/xenalyze
DEMO_TRACE := traces/r12-migrate-live-4vcpu-mem-hvm-sched.xentrace.xz

# Worker processes of the test suites; 0 runs them in one process, as a debugger needs it.
WORKERS ?= auto
PYTEST = $(BIN)/python -m pytest -n $(WORKERS)

# The folder with all recordings; those in traces/ are always tested.
EPTREPLAY_RECORDINGS ?= ../shared/recordings

# How to put an option into any of the suites: `make test PYTEST_ADDOPTS="-x -k placement"`.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test recordings lint format bench coverage boundscheck docs examples peers lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(INSTALLED) ## create or refresh the environment: the pinned packages, then eptreplay itself

# Removing the old environment first means that a package which left the lock leaves the environment as well.
$(LOCKED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "eptreplay needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements.lock
	@touch $@

# No build isolation: the build backend is pinned like everything else. eptreplay/__init__.py holds the version.
$(INSTALLED): $(LOCKED) pyproject.toml eptreplay/__init__.py
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED) ## what each strategy would have cost during a live migration that was recorded
	$(BIN)/eptreplay report $(DEMO_TRACE)

test: $(INSTALLED) ## the default test suite
	$(PYTEST)

recordings: $(INSTALLED) ## the long suite: every recording in EPTREPLAY_RECORDINGS, and the slow tests
	EPTREPLAY_RECORDINGS=$(abspath $(EPTREPLAY_RECORDINGS)) $(PYTEST) -m "recordings or slow"

lint: $(INSTALLED) ## ruff's rules and format, and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(INSTALLED) ## mend what ruff can mend by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(INSTALLED) $(XENALYZE) ## speed beside xenalyze, and where the time goes
	PYTHONPATH=. EPTREPLAY_XENALYZE=$(XENALYZE) $(BIN)/python tests/benchmarks/run.py $(ARGS)

# With the JIT off, kernels are ordinary Python and their lines and branches count.
coverage: $(INSTALLED) ## line and branch coverage with the JIT off; at least 95 % of each
	@mkdir -p $(BUILD)
	$(BIN)/coverage erase
	NUMBA_DISABLE_JIT=1 $(BIN)/coverage run -m pytest -n $(WORKERS) -m "not (recordings or slow or bench or compiled)"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=0
	$(BIN)/coverage json --quiet --fail-under=0 -o $(BUILD)/coverage.json
	$(BIN)/python tests/coverage_floor.py $(BUILD)/coverage.json

# A cache of its own: numba does not see that cached code was compiled without the checks.
boundscheck: $(INSTALLED) ## damaged input through the compiled kernels, every array access checked
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(abspath $(BUILD)/numba-boundscheck) $(PYTEST) -m mutation

docs: $(INSTALLED) ## the documentation, into build/docs; a warning is an error
	$(BIN)/sphinx-build -W --keep-going --quiet -b html docs $(BUILD)/docs

examples: $(INSTALLED) ## run the examples of README and docs, and write down what they print now
	$(BIN)/python -m tests.docs.refresh

peers: $(XENALYZE) ## Debian's xen-utils-common, unpacked for its xenalyze (nothing is installed, no root needed)

# Package lists are fetched only where the machine has none or old ones, and then into the build folder: no root needed.
APT = apt-get -qq -o APT::Sandbox::User=
APT_PRIVATE = $(APT) -o Dir::State::Lists=$(abspath $(PEERS))/lists -o Dir::Cache=$(abspath $(PEERS))/cache
$(XENALYZE):
	@command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { \
	echo "make peers needs apt-get and dpkg-deb; elsewhere set EPTREPLAY_XENALYZE to a xenalyze of yours" >&2; exit 1; }
	@rm -rf $(PEERS)
	@mkdir -p $(PEERS)/lists/partial $(PEERS)/cache/archives/partial
	cd $(PEERS) && $(APT) download xen-utils-common 2>/dev/null || \
	{ $(APT_PRIVATE) update && $(APT_PRIVATE) download xen-utils-common; }
	dpkg-deb -x $(PEERS)/xen-utils-common_*.deb $(PEERS)
	@rm -rf $(PEERS)/lists $(PEERS)/cache
	@test -x $@
	@touch $@

# Only when a dependency changes: resolves pyproject.toml anew, for every Python it allows, with hashes.
lock: ## refresh requirements.lock
	$(PYTHON) -m venv --clear $(BUILD)/lock
	$(BUILD)/lock/bin/python -m pip install --disable-pip-version-check --quiet uv
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BUILD)/lock/bin/uv pip compile --quiet --upgrade --universal \
	--python-version 3.11 --fork-strategy fewest --generate-hashes --extra dev pyproject.toml -o requirements.lock

clean: ## remove everything that can be made again
	rm -rf $(VENV) $(BUILD) dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find eptreplay tests docs -name __pycache__ -type d -prune -exec rm -rf {} +
