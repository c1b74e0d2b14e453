# Two commands for everybody: make run, make test. Nothing here can send an order to a real venue.
.DEFAULT_GOAL := help
.PHONY: help setup clients etcd run ha stop status test check fmt lint types arch smoke bench soak cover lock docs clean

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider
WORKERS ?= auto

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

setup: ## make .venv from requirements.lock; again only when that changed
	@.ci/setup

clients: setup ## make the environments of the third-party clients that the contract suite runs
	@.ci/clients

etcd: ## have etcd under build/etcd/bin: an installed one, or the packages of Debian trixie, unpacked there
	@.ci/etcd

run: setup ## trade on paper against the embedded simulated venue, in the foreground; Ctrl-C stops in order
	@exec conf/paper.sh

ha: setup etcd ## a cluster on paper: three members of etcd, two nodes, one simulated venue, shown live; Ctrl-C stops it
	@$(BIN)/python -m procs.run_cluster

stop: ## stop the tree in order, the executor first
	@$(BIN)/grinder stop

status: ## is it ready, and if not, why
	@$(BIN)/grinder status

test: clients etcd ## the whole test suite
	$(PYTEST) -q -n $(WORKERS) --dist loadgroup tests

check: lint types arch test ## everything a change must pass

fmt: setup ## format, and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: setup ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy --strict
	$(BIN)/mypy

arch: setup ## floors, sizes, tables, generated documentation
	$(PYTEST) -q tests/arch

smoke: setup etcd ## the real tree: supervisord, sockets, shared memory, signals
	$(PYTEST) -q tests/smoke

cover: setup ## branch coverage of the pure floors; core must be whole
	@mkdir -p build
	$(BIN)/coverage run --branch --source grinder.core,grinder.model,grinder.settings --data-file build/coverage \
		-m pytest -q -p no:cacheprovider tests/unit tests/property tests/scenarios
	$(BIN)/coverage report --data-file build/coverage --skip-covered --show-missing

bench: setup etcd ## tick to order, order path, journal, trip to block, failover, each beside a bare floor of the same run
	$(BIN)/python -m tests.bench.tick_to_order
	$(BIN)/python -m tests.bench.order_round_trip
	$(BIN)/python -m tests.bench.order_path
	$(BIN)/python -m tests.bench.trip_to_block
	$(BIN)/python -m tests.bench.failover

soak: setup etcd ## a thousand kill -9s, ten thousand trips, a thousand faults of a cluster, half an hour of trading (SOAK_S=seconds)
	$(PYTEST) -q -s -m soak tests

docs: setup ## write the documentation that is made from tables
	$(BIN)/grinder docs write

lock: setup ## pin every package of setup.cfg again, with hashes
	test -x build/lock/bin/uv || { $(BIN)/python -m venv build/lock && build/lock/bin/python -m pip install -q uv; }
	echo '# Every package of make run and make test, pinned with hashes. Remade by: make lock' >build/lock/new
	build/lock/bin/uv pip compile -q --upgrade --generate-hashes --no-header --no-annotate --python-version 3.11 \
		--extra test --extra build setup.cfg >>build/lock/new
	mv build/lock/new requirements.lock
	for client in tests/contract/clients/*/requirements.in; do \
		build/lock/bin/uv pip compile -q --upgrade --generate-hashes --no-header --no-annotate --python-version 3.11 \
			-o $${client%.in}.lock $$client || exit 1; \
	done
	cd tests/contract/clients/node_binance && npm install -q --package-lock-only --no-audit --no-fund

clean: ## remove what the tools leave behind; keeps .venv and var
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
