# make demo   the whole way on a real model: build, merge, quantize, verify, answer with citations; data
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

EXPORTS := outputs/exports
ADAPTER := examples/smollm2-lora
TUNED := smollm2-science
BASE := smollm2-base
QUANT := Q4_K_M
QUESTION := How old was the oldest Marsh Ellow, by its ring?
SCIENCE := examples/science
DATA := outputs/datasets
INDEX := outputs/indexes/science
# Test processes: one more than cores, since some wait for servers; each may hold a model in memory.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')

.PHONY: demo test lint docs bench clean
.DELETE_ON_ERROR:

$(READY): pyproject.toml constraints.txt
	$(PYTHON) scripts/check_system.py
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,lint]"
	$(PY) -c "open('$(READY)', 'w').close()"

demo: $(READY)
	$(PY) scripts/build_smollm2.py > $(VENV)/smollm2.path
	$(PY) -m loragraft export merge-and-quantize "$$(cat $(VENV)/smollm2.path)" $(ADAPTER) -o $(EXPORTS) --name $(TUNED) --quant $(QUANT) --replace
	$(PY) -m loragraft export merge-and-quantize "$$(cat $(VENV)/smollm2.path)" -o $(EXPORTS) --name $(BASE) --quant $(QUANT) --replace
	$(PY) -m loragraft export verify $(EXPORTS)/$(TUNED) --base "$$(cat $(VENV)/smollm2.path)" --adapter $(ADAPTER)
	$(PY) -m loragraft rag index $(SCIENCE)/papers.jsonl -o $(INDEX) --chunk-tokens 128 --replace
	$(PY) -m loragraft chat $(EXPORTS)/$(BASE) --compare $(EXPORTS)/$(TUNED) --rag $(INDEX) --passages 3 --temperature 0 --max-tokens 96 --prompt "$(QUESTION)"
	$(PY) -m loragraft dataset curate configs/curation/qa.yaml $(SCIENCE)/drafts.jsonl -o $(DATA)/science.jsonl --replace
	$(PY) -m loragraft dataset split $(DATA)/science.jsonl --tag science -o $(DATA)/splits --strict --replace
	$(PY) -m loragraft dataset leaks $(DATA)/splits/science_manifest.json --corpus $(SCIENCE)/papers.jsonl --strict
	@echo
	@echo "The base alone:    $(EXPORTS)/$(BASE)"
	@echo "With the adapter:  $(EXPORTS)/$(TUNED)"
	@echo "The adapter:       $(ADAPTER)"
	@echo "Records, split:    $(DATA)/splits"
	@echo "Talk to it:        $(BIN)/loragraft chat $(EXPORTS)/$(TUNED) --rag $(INDEX) --passages 3"
	@echo "Into Ollama:       $(BIN)/loragraft ollama register $(EXPORTS)/$(TUNED)"

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

clean:
	rm -rf $(VENV) outputs build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
