# make demo   the whole way on a real model: verify, merge, quantize, index, ask, three experiments
# make test   lint, types, documentation and all tests
# make lint   only the first three
# make docs   write docs/cli.md and docs/templates.md
# make bench  the speed and memory benchmarks (long)
# make clean  remove the environment, caches and outputs
#
# The environment is .venv; make PYTHON=python3.12 chooses another Python for it.

PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PY := $(BIN)/python
READY := $(VENV)/.ready

# llama.cpp's AMX code, as GCC builds it up to 12 and perhaps later, ends the process with a fault
# (github.com/ggml-org/llama.cpp/issues/20824): it is built without. What is built already stays.
NO_AMX := CFLAGS="$(CFLAGS) -U__AMX_INT8__" CXXFLAGS="$(CXXFLAGS) -U__AMX_INT8__"

# Test processes: one more than cores, since some wait for servers; each may hold a model in memory.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')

.PHONY: demo test lint docs bench clean
.DELETE_ON_ERROR:

$(READY): pyproject.toml constraints.txt
	$(PYTHON) scripts/check_system.py
	$(PYTHON) -m venv $(VENV)
	$(NO_AMX) $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,lint]"
	$(PY) -c "open('$(READY)', 'w').close()"

demo: $(READY)
	$(PY) -m loragraft demo .

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) scripts/generate_cli_docs.py --check

test: lint
	$(PY) -m pytest -n $(WORKERS) --dist loadgroup

docs: $(READY)
	$(PY) scripts/generate_cli_docs.py
	$(PY) scripts/generate_template_docs.py

bench: $(READY)
	$(PY) benchmarks/export.py
	$(PY) benchmarks/rag.py
	$(PY) benchmarks/dataset.py
	$(PY) benchmarks/train.py
	$(PY) benchmarks/experiment.py

clean:
	rm -rf $(VENV) outputs build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
