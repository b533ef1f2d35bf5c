# make reproduce [NB=11] [JOBS=2]        run the notebooks, JOBS at once, draw figures/, write figures/index.html
# make reproduce SCRATCH=1                compute all evidence anew before, which takes hours
# make reproduce [NB=11] PROFILE=paper   those with a file in profiles/paper/, all into build/paper/
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PROFILE ?= embedded
NB ?=
PYTHON ?= python3
PY := .venv/bin/python
RUNS := $(PY) tools/runs.py
EVIDENCE := $(PY) tools/evidence.py
STUDY ?=
K ?= 3
SCRATCH ?=
JOBS ?= 2
TESTS := OMP_NUM_THREADS=1 XAI_PROGRESS=0 $(PY) -m pytest -q -n 2 --dist loadfile
AT_ONCE := OMP_NUM_THREADS=1 $(MAKE) -s -j$(JOBS) NOTEBOOKS

# glibc gives freed memory back to the system, which costs a third of the time of these passes.
export MALLOC_TOP_PAD_ := 268435456
export MALLOC_MMAP_THRESHOLD_ := 4294967296
export MALLOC_TRIM_THRESHOLD_ := 4294967296

ifeq ($(PROFILE),embedded)
FIGURES := figures
SETTINGS :=
NOTEBOOKS := $(sort $(wildcard notebooks/$(NB)*.ipynb))
NONE := no notebook named notebooks/$(NB)*.ipynb
else
FIGURES := build/$(PROFILE)/figures
SETTINGS := profiles/$(PROFILE)/%.yaml
NOTEBOOKS := $(patsubst $(SETTINGS),notebooks/%.ipynb,$(sort $(wildcard profiles/$(PROFILE)/$(NB)*.yaml)))
NONE := PROFILE=$(PROFILE) has no such notebook: there is no profiles/$(PROFILE)/$(NB)*.yaml
endif
MISSING := build/$(PROFILE)/missing.txt
DONE := $(NOTEBOOKS:notebooks/%=build/$(PROFILE)/%)
SOURCES := $(shell find xai_utils -name '*.py' -o -name '*.csv')

.PHONY: help setup data reproduce evidence evidence-check doctor check test format lab notebooks bench clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: .venv/.ready  ## .venv with the pinned packages
.venv/.ready: pyproject.toml constraints.txt
	test -x $(PY) || $(PYTHON) -m venv .venv
	@echo "installing into .venv (PyTorch's CUDA build is 5.5 GB; two to four minutes)"
	$(PY) -m pip install -q -c constraints.txt -e '.[test]'
	@touch $@

data: build/.data  ## pictures and class embeddings into the cache
build/.data: .venv/.ready $(wildcard xai_utils/data/*.py) xai_utils/models/embedded.py
	@mkdir -p build
	@$(RUNS) prepare
	@touch $@

reproduce: .venv/.ready  ## run every notebook (NB=11: one; PROFILE=paper), draw figures/
ifeq ($(NOTEBOOKS),)
$(error $(NONE))
else ifeq ($(PROFILE),embedded)
	@$(if $(SCRATCH),$(EVIDENCE) compute --anew)
	@$(AT_ONCE)="$(NOTEBOOKS)" figures/index.html
	@echo "open figures/index.html"
else
	@ready=$$($(RUNS) ready $(NOTEBOOKS) --profile $(PROFILE)); \
	if [ -e $(MISSING) ]; then cat $(MISSING); fi; \
	if [ -n "$$ready" ]; then \
		$(AT_ONCE)="$$ready" $(FIGURES)/index.html; \
		echo "open $(FIGURES)/index.html"; \
	fi; \
	if [ -e $(MISSING) ]; then echo "what is missing: $(MISSING)"; exit 2; fi
endif

$(FIGURES)/index.html: $(DONE) tools/gallery.py
	@$(RUNS) index --profile $(PROFILE)

build/$(PROFILE)/%.ipynb: notebooks/%.ipynb $(SETTINGS) $(SOURCES) .venv/.ready | build/.data
	@$(RUNS) notebook $< $@ --profile $(PROFILE)

evidence: build/.data  ## compute what is missing or stale of the studies (STUDY=..., PROFILE=...)
	@$(EVIDENCE) compute $(STUDY) --profile $(PROFILE) $(if $(SCRATCH),--anew)

evidence-check: build/.data  ## compute K=3 random cases of every study again and compare
	@$(EVIDENCE) check $(STUDY) --profile $(PROFILE) -k $(K)

doctor:  ## what this machine has and lacks for the kit, and how to get it
	@$(if $(wildcard $(PY)),$(PY),$(PYTHON)) tools/doctor.py

check: build/.data  ## the quick tests, in two minutes
	$(TESTS) -m "not slow" tests

test: build/.data  ## all tests, and nbval over the notebooks
	$(TESTS) --durations=8 --nbval-lax --nbval-sanitize-with nbval.cfg --nbval-cell-timeout 900 \
		tests notebooks

format: .venv/.ready  ## ruff over package, tests and notebooks, as `make test` wants them
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lab: build/.data  ## JupyterLab on the notebooks
	$(PY) -m jupyter lab --notebook-dir=.

notebooks: build/.data  ## for those who change them: run them in place, so that they are committed with their outputs
	@for nb in $(NOTEBOOKS); do $(RUNS) refresh $$nb; done

bench: .venv/.ready  ## print the tables of ratios in benchmarks/
	@for script in benchmarks/*.py; do $(PY) $$script; done

clean:  ## remove .venv and build (not the cache, not figures)
	rm -rf .venv build
