# make demo | test | bench | lint | format | build | clean; HARNESS_DEBUG=1 for a debug build,
# PYTHON=/path/to/python3.12 for another interpreter. docs/developing.md tells more.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
MODE := $(if $(filter-out 0,$(HARNESS_DEBUG)),debug,release)

READY := $(VENV)/.ready
INSTALLED := $(VENV)/.installed
BUILT := build/.built-$(MODE)
NGHTTP2 := build/.nghttp2
PYX := $(wildcard harness/*.pyx)
CYTHON_FILES := $(PYX) $(wildcard harness/*.pxd harness/includes/*.pxd)
SOURCES := $(CYTHON_FILES) setup.py tools/nghttp2.py
EXTENSIONS := $(PYX:harness/%.pyx=harness.%)

LINTS := $(addprefix lint-,ruff format cython types stubs hints)

.PHONY: setup build demo test bench lint $(LINTS) format clean
.DELETE_ON_ERROR:

setup: $(READY) $(NGHTTP2)

$(READY): pyproject.toml tools/find-python
	@$(PIP) --version >/dev/null 2>&1 || { python=$$(tools/find-python) && \
	echo "virtual environment $(VENV) from $$python" && $$python -m venv --clear $(VENV); }
	@$(BIN)/python tools/requirements.py > $(VENV)/requirements.txt
	@$(PIP) install -qq -r $(VENV)/requirements.txt
	@touch $@

$(NGHTTP2): tools/nghttp2.py | $(READY)
	@mkdir -p build
	@$(BIN)/python tools/nghttp2.py --install
	@touch $@

build: $(BUILT) $(INSTALLED)

# Another mode's or interpreter's C files and modules look up to date, but are not what was asked for.
$(BUILT): $(SOURCES) $(READY) $(NGHTTP2)
	@mkdir -p build
	@kind="$(MODE) $$(realpath $(BIN)/python)"; [ "$$(cat build/.kind 2>/dev/null)" = "$$kind" ] || \
	{ rm -rf build/.built-* build/lib* build/temp* harness/*.c harness/*.so; echo "$$kind" > build/.kind; }
	@echo "building the extension modules ($(MODE)), log in build/build.log"
	@$(BIN)/python setup.py build_ext --inplace -j 2 > build/build.log 2>&1 || \
	{ cat build/build.log; rm -f $@; exit 1; }
	@touch $@

$(INSTALLED): pyproject.toml $(READY) | $(BUILT)
	@$(PIP) install -qq --no-deps --no-build-isolation -e .
	@touch $@

demo: build
	@$(BIN)/harness demo

test: build
	@$(BIN)/python -m tools.chromium --install
	@$(BIN)/python -m harness.triton.provision
	@$(BIN)/python -m benchmarks.peers
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(PYTEST_ARGS)

bench: build
	@$(BIN)/python -m harness.triton.provision || echo "going on without Triton"
	@$(BIN)/python -m benchmarks.peers || echo "going on without what cannot be had"
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

lint: build
	@$(MAKE) --no-print-directory --keep-going $(LINTS)

lint-ruff:
	$(BIN)/ruff check .

lint-format:
	$(BIN)/ruff format --check .

lint-cython:
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint $(CYTHON_FILES)

lint-types:
	$(BIN)/mypy

lint-stubs:
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml --ignore-disjoint-bases --ignore-unused-allowlist \
	--allowlist tools/stubtest_allowlist.txt $(EXTENSIONS)

lint-hints: build/cython.log
	@! grep -A 5 -i "performance hint" $<

# A build remakes only what changed, so its log need not hold every hint.
build/cython.log: $(SOURCES) $(READY) $(NGHTTP2)
	@rm -rf build/cython
	@HARNESS_CYTHON_DIR=build/cython $(BIN)/python setup.py --name > $@ 2>&1 || { cat $@; exit 1; }

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build *.egg-info harness/*.c harness/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.*' -prune -exec rm -rf {} +
	@echo "kept: $(VENV) .triton .peers runs"
