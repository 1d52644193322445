# Every target does its own set-up: a fresh clone needs only Python 3.11 to 3.13.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install test test-slow test-matrix torture check format demo bench bench-quick results docs release-check image screenshots clean

help:
	@echo "make demo         compare models on the demo text and print the table"
	@echo "make test         run the tests (about ten minutes at most)"
	@echo "make test-slow    run the long tests too"
	@echo "make test-matrix  run the tests as on other processors, hash seeds and Python 3.11 and 3.13"
	@echo "make torture      try to break the commands for an hour, print how often (MINUTES=5: shorter)"
	@echo "make check        lint, format, types, and the floors that imports respect"
	@echo "make format       apply the format"
	@echo "make bench        measure against KenLM, print ratios, write results/ (make bench-quick: a minute)"
	@echo "make results      docs/results.md from the experiments' files in results/"
	@echo "make docs         build the guide in build/docs; links and anchors are checked"
	@echo "make release-check  build sdist and wheel; install the wheel with each extra on each Python; run the demo"
	@echo "make image        build a container image with podman, docker or buildah (EXTRAS=all: nets too)"
	@echo "make screenshots  pictures of the server's page, in docs/pictures"
	@echo "make clean        remove the virtual environment and the caches"

install: $(STAMP)

# A virtual environment of another dependency list is thrown away, so that what passes here passes
# on a fresh machine.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "unrolled needs Python 3.11 to 3.13, and $(PYTHON) is " + sys.version.split()[0] + "; say make PYTHON=python3.12")'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev,docs,demo,neural,onnx,report,server,sklearn,spacy,spark,text]'
	@# KenLM and pyctcdecode are peers to compare with: without them their tests and rows are skipped.
	@# pyctcdecode declares numpy<2 but works with 2, hence --no-deps.
	@{ $(PIP) install --quiet --constraint constraints.txt kenlm pygtrie \
	   && $(PIP) install --quiet --constraint constraints.txt --no-deps pyctcdecode; } \
	 || echo "kenlm or pyctcdecode did not install: the tests that compare with them are skipped"
	@touch $(STAMP)

# Two processes: most tests compile, start commands or train on one core. A free one takes over what
# another has yet to do; torch's idle threads leave the cores to it.
PYTEST := GOMP_SPINCOUNT=0 $(BIN)/python -m pytest -n 2 --dist worksteal

test: $(STAMP)
	$(BIN)/unrolled compile
	$(PYTEST)

test-slow: $(STAMP)
	$(PYTEST) -m "slow or not slow"

# Each value at least once: vector instructions of torch, of oneDNN and of Numba, hash seeds, Pythons.
PYTHONS := python3.11 python3.13
MATRIX  := ATEN_CPU_CAPABILITY=default,ONEDNN_MAX_CPU_ISA=SSE41,NUMBA_CPU_NAME=generic,PYTHONHASHSEED=0 \
           ATEN_CPU_CAPABILITY=avx2,ONEDNN_MAX_CPU_ISA=AVX2,PYTHONHASHSEED=1 \
           ATEN_CPU_CAPABILITY=avx512,ONEDNN_MAX_CPU_ISA=AVX512_CORE,PYTHONHASHSEED=2
comma   := ,

test-matrix:
	@set -e; for settings in $(MATRIX); do \
	  echo "== $$settings"; env $$(echo $$settings | tr $(comma) ' ') $(MAKE) test; \
	done; for python in $(PYTHONS); do \
	  echo "== $$python"; $(MAKE) test PYTHON=$$python VENV=.venv-$$python; \
	done

MINUTES := 60

torture: $(STAMP)
	$(BIN)/python tests/torture/run.py --slow --minutes $(MINUTES) --keep results/torture.json

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: $(STAMP)
	$(BIN)/unrolled compile
	$(BIN)/unrolled demo

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

bench-quick: $(STAMP)
	$(BIN)/python benchmarks/run.py --quick

results: $(STAMP)
	$(BIN)/python -m unrolled.experiments.results_page results docs/results.md

# Strict: a dead link, a missing anchor or a page outside the navigation is an error.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir build/docs
	@echo "open build/docs/index.html; with search: python -m http.server --directory build/docs"

# Half an hour: 33 fresh environments. Some of them: make release-check CHECK="--pythons 3.13 --extras demo"
CHECK :=

release-check: $(STAMP)
	$(BIN)/python tests/release/check.py $(CHECK)

EXTRAS := text,demo,server

image:
	@for builder in podman docker buildah; do \
	  if $$builder info > /dev/null 2>&1; then \
	    exec $$builder build --build-arg EXTRAS=$(EXTRAS) --file Containerfile --tag unrolled .; \
	  fi; \
	done; \
	echo "no image is built: neither podman, docker nor buildah is here and running"

# Pictures of the server's page for the guide, in a real browser.
screenshots: $(STAMP)
	PICTURES=docs/pictures $(BIN)/python -m pytest -q -m slow tests/server/test_page.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
