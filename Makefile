# SPDX-License-Identifier: GPL-2.0-only
# One command for each thing one does here; `make help` lists them.

# Minutes of load that `make soak` survives.
SOAK_MINUTES ?= 20
# Handed on, as in: make run RUN_ARGS="--policy bpfland"
RUN_ARGS ?=
TEST_ARGS ?=
BENCH_ARGS ?=

PYTEST := .venv/bin/python -m pytest

.PHONY: help setup run test test-long soak bench bench-kernel lint format clean

help: ## show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## install what is missing, create .venv, build the native parts
	@tools/setup

run: setup ## schedule a mixed load, here or in the lab, and show what pyland did
	@.venv/bin/python tools/run $(RUN_ARGS)

test: setup ## lint, types, package, unit, ring and kernel tests
	@.venv/bin/python tools/test $(TEST_ARGS)

test-long: setup ## the kernel tests that `make test` leaves out, because each takes minutes
	@.venv/bin/python tools/test --long $(TEST_ARGS)

soak: setup ## SOAK_MINUTES of load and faults in the lab
	@tools/vm --timeout $$(($(SOAK_MINUTES) * 60 + 900)) --cpus 2 -- \
		env SOAK_MINUTES=$(SOAK_MINUTES) $(PYTEST) -s -p no:cacheprovider tests/kernel/soak.py

# Each run is saved in .benchmarks and compared with the one before it, also after the machine's
# Python or kernel has changed: that is worth a warning, not an end.
bench: setup ## measure the dispatch path and the policies on real rings
	@mkdir -p build/bench
	@$(PYTEST) -W default::pytest_benchmark.logger.PytestBenchmarkWarning \
		bench --benchmark-only --benchmark-autosave --benchmark-columns=median,iqr,rounds \
		--benchmark-json=build/bench/rings.json \
		$(if $(wildcard .benchmarks/*/*.json),--benchmark-compare) $(BENCH_ARGS)

bench-kernel: setup ## compare with EEVDF and the scx schedulers, write docs/performance.md
	@tools/setup bench
	@.venv/bin/python tools/bench $(BENCH_ARGS)

lint: setup ## lint and types only: seconds
	@.venv/bin/python tools/test --only lint types

format: setup ## rewrite the sources as lint wants them
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format .

clean: ## remove all that set-up and the tests made in this clone
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	rm -f pyland/*.o pyland/*.so pyland/*.so.* pyland/libbpf.copyright pyland/_layout.py
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
