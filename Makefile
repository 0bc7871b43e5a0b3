# make demo: install and run the main job on a built-in data set; make test, make check: what CI runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check locked lock audit bench docs site release-check clean

demo: $(VENV)/.installed
	$(BIN)/cxrlens demo --out demo --force

# Processors are shared out among processes of tests: threads within each would only wait for one another.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.installed-test
	$(BIN)/pytest --numprocesses logical --dist loadfile --max-worker-restart 0 # a process that dies ends it, else xdist may wait for ever

check: $(VENV)/.installed-test
	$(BIN)/ruff check --no-cache # it files imports by what lies in tests/, which its cache does not know
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

locked: | $(VENV)/bin/python # what CI installs: exact versions, with hashes
	.ci/install $(VENV)
	touch $(VENV)/.installed-test $(VENV)/.installed

lock: # newer versions into .ci/requirements.lock
	$(PYTHON) .ci/lock

audit: $(VENV)/.installed
	.ci/audit $(VENV)

bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks

docs: $(VENV)/.installed
	$(BIN)/python -m cxrlens.saliency.catalogue docs/methods.md

site: $(VENV)/.installed-test # the documentation as a site in site/; a link that leads nowhere ends it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

release-check: $(VENV)/.installed-test # what would be released, in dist/, built, checked and tried
	.ci/release $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) demo build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
