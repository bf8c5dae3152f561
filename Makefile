# What a newcomer needs: `make demo` and `make test`. Everything else is `triton-yolo --help` and `python -m bench --help`.
# Options go through ARGS: make serve ARGS="--host 0.0.0.0".
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
# Two at a time, a file by one worker: what a file's tests share, they share within the file.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: demo serve test test-unit coverage lint bench gpu clean

demo: .venv/product
	$(BIN)/triton-yolo demo $(ARGS)

# The shell waits for the server after Ctrl-C, and its status 130 is no error here.
serve: .venv/product
	@trap : INT; $(BIN)/triton-yolo serve $(ARGS) || { status=$$?; [ $$status -eq 130 ] || exit $$status; }

test: .venv/dev .bench/bin/perf_analyzer
	$(PYTEST) -m "not slow" $(ARGS)

test-unit: .venv/dev
	$(PYTEST) -m "unit and not slow" $(ARGS)

coverage: .venv/dev .bench/bin/perf_analyzer
	$(PYTEST) -m "not slow" --cov --cov-report=term $(ARGS)

lint: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy -p triton_yolo -p bench -p deploy -p training
	$(BIN)/codespell

bench: .venv/product .bench/bin/perf_analyzer
	$(BIN)/python -m bench $(ARGS)

gpu: .venv/gpu

clean:
	rm -rf .venv .bench out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage*

# The files .venv/product and .venv/dev say what is installed: set-up happens once, and again when versions change.
.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "make: $$($(PYTHON) --version 2>&1) is not supported: give Python 3.10, 3.11 or 3.12, as in make demo PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/product: .venv/bin/pip pyproject.toml constraints.txt
	@echo "Installing (once, about 2 GB) into .venv"
	@$(PIP) -e '.[calibrate,cuda,export,server]' || \
	  { echo "make: packages could not be installed; pip says why above (no network? a proxy?). Run make again." >&2; exit 2; }
	@touch $@

.venv/dev: .venv/product
	@$(PIP) -e '.[dev]' || \
	  { echo "make: packages could not be installed; pip says why above (no network? a proxy?). Run make again." >&2; exit 2; }
	@touch $@

# ONNX Runtime for GPUs takes the place of the one for the CPU: both are the same Python package.
.venv/gpu: .venv/product
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: ONNX Runtime for GPUs needs Python 3.11 or 3.12: make clean, then make gpu PYTHON=python3.12" >&2; exit 2; }
	@echo "Installing ONNX Runtime for GPUs, CUDA and cuDNN (once, about 2 GB) into .venv"
	@$(BIN)/pip uninstall --quiet --yes onnxruntime
	@$(PIP) -e '.[gpu]' || \
	  { echo "make: packages could not be installed; pip says why above (no network? a proxy?). Run make again." >&2; exit 2; }
	@touch $@

# perf_analyzer of its own package needs glibc 2.38; this older one does for the rest.
.bench/bin/perf_analyzer: .venv/bin/pip
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target .bench tritonclient==2.50.0 || \
	  { echo "make: perf_analyzer could not be installed; pip says why above. Run make again." >&2; exit 2; }
	@touch $@
