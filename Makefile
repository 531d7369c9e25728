# Two commands for a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test test-all check clean

quickstart: $(VENV)/core
	$(BIN)/rungs train digits-quick

# On a virtual machine it is slow to get back memory that was returned to the system between two trainings. glibc only.
test test-all: export GLIBC_TUNABLES := glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592

# The many processes of the tests need not compile every module anew, whatever is set around them.
test test-all: export PYTHONDONTWRITEBYTECODE :=

test: $(VENV)/dev
	$(BIN)/pytest -n 2 --dist worksteal -m "not dear"

# All tests; the slow ones run first.
test-all: $(VENV)/dev
	$(BIN)/pytest -n 2 --dist worksteal $(PYTEST)

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The constraints pin a tested torch; the installation is kept until these files change.
$(VENV)/core: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/core

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
