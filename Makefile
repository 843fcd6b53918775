# Everything runs in .venv, which is made on first use and refreshed when the dependencies change.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEPS := pyproject.toml constraints.txt

.PHONY: install demo test lint format bench frontier parity clean
.DEFAULT_GOAL := help

help:
	@echo "make install | demo | test | lint | format | bench | frontier | parity | clean"

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/.installed: $(BIN)/python $(DEPS)
	$(PIP) install --quiet -c constraints.txt -e '.[all]'
	@touch $@

.venv/.installed-test: .venv/.installed
	$(PIP) install --quiet -c constraints.txt -e '.[test]'
	@touch $@

.venv/.installed-lint: .venv/.installed-test
	$(PIP) install --quiet -c constraints.txt -e '.[test,lint]'
	@touch $@

# visdom builds only with an old setuptools, and only a recent pip can be told so
.venv/.installed-peers: .venv/.installed benchmarks/peers-build-constraints.txt
	$(PIP) install --quiet 'pip>=25.3'
	$(PIP) install --quiet --build-constraint benchmarks/peers-build-constraints.txt -c constraints.txt -e '.[peers]'
	@touch $@

install: .venv/.installed

demo: .venv/.installed
	$(BIN)/minadv attack --model demo --data demo --distance l2 --steps 200 --out runs/demo --overwrite

# every test works in one thread: one process for each core
test: .venv/.installed-test
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal

lint: .venv/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: .venv/.installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.installed
	$(BIN)/python -m benchmarks.speed --out runs/speed.md

# hours: every attack on every target that is on this machine; it may be interrupted, and goes on
frontier: .venv/.installed
	$(BIN)/python -m benchmarks.frontier train --missing
	$(BIN)/python -m benchmarks.frontier run
	$(BIN)/python -m benchmarks.frontier table --summary

parity: .venv/.installed-peers
	$(BIN)/python -m benchmarks.parity --out runs/parity.md

clean:
	rm -rf .venv build dist
