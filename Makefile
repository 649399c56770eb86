# `make run` and `make test` need nothing prepared: they install what is missing first.
.DEFAULT_GOAL := help
SHELL := /bin/sh
ARGS ?=

.venv/installed: requirements-dev.lock pyproject.toml scripts/install.sh
	@scripts/install.sh

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: .venv/installed ## Make .venv, from the lock file

.PHONY: run
run: .venv/installed ## Run the compiled pipeline here; ARGS="--run-date 2026-11-20 --flows sales" are handed to goldline run
	@.venv/bin/goldline run $(ARGS)

PYTEST := .venv/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: .venv/installed ## Run the tests, whole runs of the pipeline among them; says at its end what it left out
	@$(PYTEST) -m "not slow and not servers" $(ARGS)

.PHONY: test-all
test-all: .venv/installed ## Run all tests: whole flows, kill -9, submit to tables, the laptop's servers (ten minutes)
	@$(PYTEST) $(ARGS)

.PHONY: test-servers
test-servers: .venv/installed ## Run the gate of the laptop's servers alone, before a bump of their versions
	@$(PYTEST) -m servers $(ARGS)

.PHONY: proof-days
proof-days: .venv/installed ## Prove that days may come in any order, and twice (minutes)
	@.venv/bin/pytest tests/project/sales/proof_days_in_any_order.py --timeout 1500

.PHONY: proof-order
proof-order: .venv/installed ## Prove that tasks may become ready in any order (ten minutes)
	@.venv/bin/pytest tests/project/proof_any_order.py -s

.PHONY: proof-run-faults
proof-run-faults: .venv/installed ## Prove that a fault in any kind of task ends as it does in a run without others beside (minutes)
	@.venv/bin/pytest tests/project/proof_run_faults.py -s

.PHONY: bench-submit
bench-submit: .venv/installed ## Measure goldline submit beside the SDK, against the tests' stand-in
	@.venv/bin/python -m bench.bench_submit

.PHONY: bench-generators
bench-generators: .venv/installed ## Measure the generators beside a plain loop with Faker; ARGS="--records 50000" for a smaller trial
	@.venv/bin/python -m bench.bench_generators $(ARGS)

.PHONY: bench-gtfs
bench-gtfs: .venv/installed ## Measure a full-size schedule, fetched, checked and written, beside pandas
	@.venv/bin/python -m bench.bench_gtfs $(ARGS)

.PHONY: bench-transit
bench-transit: .venv/installed ## Measure a month of archives to the clean table beside the obvious way, and memory over months (minutes)
	@.venv/bin/python -m bench.bench_transit $(ARGS)

.PHONY: bench-run
bench-run: .venv/installed ## Measure runs by forks side by side beside --isolated, and the checks of one change (a quarter of an hour)
	@.venv/bin/python -m bench.bench_run $(ARGS)

.PHONY: bench-days
bench-days: .venv/installed ## Measure the next day's run after 36 and after 360 days of history (minutes)
	@.venv/bin/python -m bench.bench_days $(ARGS)

.PHONY: bench-firestore
bench-firestore: .venv/installed ## Measure exports from Firestore and writes into it beside the usual way (minutes)
	@.venv/bin/python -m bench.bench_firestore $(ARGS)

.PHONY: compile
compile: .venv/installed ## Compile pipeline.py to pipeline.json and check it
	@.venv/bin/python compile.py

.PHONY: compile-check
compile-check: .venv/installed ## Fail when pipeline.json, its picture or its parameters' page is stale, with the difference
	@.venv/bin/python compile.py --check

.PHONY: lint
lint: .venv/installed ## Check format, lint and types
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy

.PHONY: format
format: .venv/installed ## Format the code
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

.PHONY: lock
lock: ## Resolve pyproject.toml into the lock files
	@scripts/lock.sh

.PHONY: lock-check
lock-check: .venv/installed ## Fail when the lock files are stale
	@scripts/lock.sh --check

.PHONY: image
image: .venv/installed ## Build the image of the tasks, tagged by its content, with docker or podman
	@scripts/image.sh

.PHONY: image-test
image-test: .venv/installed ## Build the image and run the compiled spec in it; as root on Debian it brings its own docker (minutes)
	@.venv/bin/pytest tests/proofs/proof_image.py -n 0 -s $(ARGS)

.PHONY: infra-check
infra-check: .venv/installed ## Check infra/ with terraform and checkov
	@scripts/infra_check.sh

.PHONY: clean
clean: ## Stop the local stack and forget all its data (.goldline)
	@[ ! -x .venv/bin/goldline ] || .venv/bin/goldline down
	rm -rf .goldline
