# Every target sets itself up in .venv; a fresh machine needs Python 3.11 to 3.13, make and a package index.
PYTHON ?= $(shell for v in 3.12 3.13 3.11 3; do command -v python$$v >/dev/null 2>&1 && python$$v -c 'import sys,venv,ensurepip; sys.exit(not (3,11) <= sys.version_info[:2] < (3,14))' >/dev/null 2>&1 && { echo python$$v; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1


.PHONY: help install install-dev demo test test-lowest check bench bench-quick proof-crash lock clean

help:            ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(VENV)/.installed          ## the command windrow, in .venv
install-dev: $(VENV)/.installed-dev  ## what tests and checks need besides

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Windrow needs Python 3.11, 3.12 or 3.13 with venv; none was found. Name one: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	@touch $@

demo: install                        ## a consortium of a hundred repositories is harvested before your eyes
	@$(BIN)/windrow demo

test: install-dev                    ## all tests, on all cores
	$(BIN)/python -m pytest -n auto --dist loadfile

test-lowest: install-dev             ## all tests with the oldest versions that pyproject.toml allows, in .venv-lowest
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --no-header --no-annotate --no-emit-index-url --no-emit-find-links -p 3.11 pyproject.toml -o .requirements-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet -r .requirements-lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --no-deps -e .
	.venv-lowest/bin/python -m pip install --quiet -c .requirements-lowest.txt $$(sed -n '/^dev = \[/,/^\]/s/^  "\([^"]*\)".*/\1/p' pyproject.toml)
	.venv-lowest/bin/python -m pytest -n auto --dist loadfile

check: install-dev                   ## lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

bench: install-dev                   ## the measures side by side, into bench/results.md
	$(BIN)/python -m bench

bench-quick: install-dev             ## the same in two minutes
	$(BIN)/python -m bench --quick

proof-crash: install-dev             ## kill the harvest at 100 random moments and compare
	$(BIN)/python -m pytest tests/acceptance/test_crash.py -m proof -s

lock: install-dev                    ## pin what pyproject.toml asks for
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --no-header --no-annotate --no-emit-index-url --no-emit-find-links -p 3.11 pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --no-header --no-annotate --no-emit-index-url --no-emit-find-links -p 3.11 --group dev -c requirements.txt -o requirements-dev.txt

clean:                               ## remove what make made
	rm -rf $(VENV) .venv-lowest .requirements-lowest.txt build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis htmlcov .coverage
