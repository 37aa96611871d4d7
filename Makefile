# make help | make run | make test | make docs
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c "" 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# With nvcc on the path, the tests compile the CUDA program too.
EXTRAS := $(shell command -v nvcc >/dev/null && echo dev,docs,cuda || echo dev,docs)

.PHONY: help install run test docs notebook wheel format peer clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/' | expand -t 12

install: $(VENV)/installed  ## create .venv and install rwtl into it

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else f"rwtl needs Python 3.11, 3.12 or 3.13, this is {sys.version.split()[0]}; use make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) # one that is there keeps its Python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

run: install  ## the whole study in its small form, from simulated waves to outputs/comparison/*/report.html
	$(BIN)/python experiments/compare.py experiment=demo $(ARGS)

# One thread for each test process: two that use two each get in each other's way.
# A file is one process's, for its tests share what they simulate and train; first come those that wait for SLURM
# (tests/conftest.py).
test: export OMP_NUM_THREADS = 1
test: export PYTHONDONTWRITEBYTECODE =# or each of the tests' processes compiles rwtl anew
test: install  ## lint and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q -rs -W ignore -n 3 --dist loadfile --no-loadscope-reorder --durations=10 $(ARGS)

docs: install  ## the documentation as a site: docs/_build/index.html
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build

notebook: install  ## execute docs/notebook.ipynb, and keep what it shows
	$(BIN)/jupyter execute --inplace docs/notebook.ipynb

# Without what an earlier build has left, for that would be in the wheel too.
wheel: install  ## a wheel of rwtl: dist/rwtl-*.whl
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	rm -rf build

format: install  ## format and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

peer:  ## create .venv-peer with ptlflow, which benchmarks/raft.py compares with
	$(PYTHON) -m venv .venv-peer
	.venv-peer/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)" ptlflow==0.4.2

clean:  ## remove .venv and .venv-peer (outputs stay)
	rm -rf $(VENV) .venv-peer
