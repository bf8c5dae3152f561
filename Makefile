# What a newcomer needs: `make demo` and `make test`. Everything else is `triton-yolo --help` and `python -m bench --help`.
# Options go through ARGS: make serve ARGS="--host 0.0.0.0". PYTHON=python3.11 makes .venv with that Python.
ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
NOT_INSTALLED := { echo "make: packages could not be installed; pip says why above (no network? a proxy?). Run make again." >&2; exit 2; }
# ONNX Runtime for GPUs takes the place of the one for the CPU: both are the same Python package.
RUNTIME = $(if $(wildcard .venv/gpu),gpu,server)
# Two at a time, a file by one worker: what a file's tests share, they share within the file. A worker that crashes ends the
# run: with another in its place, pytest-xdist 3.8 waits forever. Bytecode is kept, whatever the environment says: thousands
# of processes start.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart=0

.PHONY: demo serve test test-unit coverage lint audit bench gpu clean

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
	$(PYTEST) -m "not slow" --cov --cov-report=term
	$(BIN)/python -m bench.covered "not slow"

lint: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy -p triton_yolo -p bench -p deploy -p training
	$(BIN)/codespell

# Known holes of what is pinned; asks a database on the internet.
audit: .venv/dev
	$(BIN)/python -m deploy.audit $(ARGS)

bench: .venv/dev .bench/bin/perf_analyzer
	$(BIN)/python -m bench $(ARGS)

gpu: .venv/gpu

clean:
	rm -rf .venv .python .bench out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage*

.venv/bin/pip:
	@.ci/venv

# The files .venv/product, .venv/dev and .venv/gpu say what is installed: set-up happens once, and again when versions
# change.
.venv/product: .venv/bin/pip pyproject.toml constraints.txt
	@echo "Installing what the server needs (once, about 2 GB) into .venv"
	@$(PIP) -e '.[$(RUNTIME)]' || $(NOT_INSTALLED)
	@touch $@

.venv/dev: .venv/product
	@echo "Installing what the tests need (once, about 200 MB) into .venv"
	@$(PIP) -e '.[dev,$(RUNTIME)]' || $(NOT_INSTALLED)
	@touch $@

.venv/gpu: .venv/bin/pip pyproject.toml constraints.txt
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: ONNX Runtime for GPUs needs Python 3.11 or 3.12: make clean, then make gpu PYTHON=python3.12" >&2; exit 2; }
	@echo "Installing what the server needs, ONNX Runtime for GPUs, CUDA and cuDNN (once, about 4 GB) into .venv"
	@$(BIN)/pip uninstall --quiet --yes onnxruntime 2> /dev/null
	@$(PIP) -e '.[gpu]' || $(NOT_INSTALLED)
	@touch .venv/product $@

# perf_analyzer of its own package needs glibc 2.38; this older one does for the rest.
.bench/bin/perf_analyzer: .venv/bin/pip
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target .bench tritonclient==2.50.0 || \
	  { echo "make: perf_analyzer could not be installed; pip says why above. Run make again." >&2; exit 2; }
	@touch $@

# The servers that bench.peers holds this one against: an environment of their own, which .venv knows nothing of.
.bench/peers: .venv/bin/pip bench/peers/requirements.txt constraints.txt
	@echo "Installing LitServe, BentoML and Ray Serve (once, about 1 GB) into $@"
	@rm -rf $@ && $(BIN)/python -m venv $@
	@$@/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -r bench/peers/requirements.txt || \
	  { rm -rf $@; $(NOT_INSTALLED); }
	@touch $@
