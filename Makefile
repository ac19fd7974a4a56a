# Every target makes what it needs by itself: `make test` on a fresh clone is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What follows the command, as in `make demo ARGS=--json` or `make test ARGS="-k deadlock"`.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup server demo test unit lint types contracts check lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name what; \
	  do printf '  make %-13s %s\n' "$$name" "$$what"; done

setup: $(VENV)/.project ## make .venv: the locked packages and this project
	@:

$(VENV)/.packages: requirements/dev.txt scripts/packages
	@scripts/packages $(PYTHON) $(VENV) requirements/dev.txt
	@touch $@

$(VENV)/.project: $(VENV)/.packages pyproject.toml
	@$(BIN)/python -m pip install -qq --no-deps --disable-pip-version-check --no-build-isolation --editable .
	@touch $@

server: setup ## see to it that a database server can be started here
	@$(BIN)/python scripts/ensure_server.py

demo: server ## a stale read the old way, and on dal; ARGS=--json for a program
	@$(BIN)/python -m examples.users.demo $(ARGS)

# Those that wait run side by side, each worker on a server of its own; faults strike at deadlines
# of seconds, and have the machine to themselves.
test: server ## every test, on private servers; with ARGS those that they name, in one process
ifeq ($(strip $(ARGS)),)
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadscope tests/unit tests/integration \
	  --ignore tests/integration/strangers
	@$(BIN)/python -m pytest tests/faults tests/integration/strangers
else
	@$(BIN)/python -m pytest $(ARGS)
endif

unit: setup ## the tests that need no server
	@$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: prove-faults prove-history prove-storm prove-pool prove-metrics prove-migrations
prove-faults: server ## every fault at every stage, and every orphan; writes the table in docs/faults.md
	@DAL_TEST_FAULTS=all $(BIN)/python -m pytest tests/faults/test_matrix.py tests/faults/test_orphans.py $(ARGS)

prove-history: server ## write and read under faults for DAL_TEST_MINUTES=10; DAL_TEST_SEED repeats a run
	@DAL_TEST_MINUTES=$${DAL_TEST_MINUTES:-10} $(BIN)/python -m pytest tests/faults/test_history.py $(ARGS)

prove-storm: server ## 300 functions at once, 50 places; writes the figures and the plot of docs/storm.md
	@DAL_TEST_STORM=all $(BIN)/python -m pytest tests/faults/test_storm.py $(ARGS)

POOL_TESTS := $(addprefix tests/integration/,$(addprefix scope/test_,freshness.py failures.py \
  scope.py hooks_and_streams.py attempts.py) repository/test_streaming.py wire/test_warm.py)
prove-pool: server ## pool="warm": what holds without it, and 1,000 rounds frozen, killed, forked in between
	@DAL_TEST_POOL=warm $(BIN)/python -m pytest $(POOL_TESTS) $(ARGS)
	@DAL_TEST_ROUNDS=1000 $(BIN)/python -m pytest tests/integration/aws/test_lambda_freshness.py -k KeptSession $(ARGS)
	@DAL_TEST_POOL=warm DAL_TEST_MINUTES=1 $(BIN)/python -m pytest tests/faults/test_history.py $(ARGS)

prove-metrics: server ## the metrics of 1,000 invocations, against the server's own counters
	@DAL_TEST_INVOCATIONS=1000 $(BIN)/python -m pytest tests/integration/aws/test_seen_in_lambda.py $(ARGS)

.PHONY: prove-strangers
prove-strangers: server ## 20,000 sessions of a server that breaks the protocol; DAL_TEST_SEED repeats a run
	@DAL_TEST_MUTATIONS=$${DAL_TEST_MUTATIONS:-20000} $(BIN)/python -m pytest tests/integration/strangers $(ARGS)

prove-migrations: server ## revisions that die at every command on the wire, and go on
	@DAL_TEST_MIGRATIONS=all $(BIN)/python -m pytest tests/integration/migrations/test_replay.py $(ARGS)

.PHONY: prove-idempotency prove-outbox
prove-idempotency: server ## repeats of events, whose processes are killed and frozen; DAL_TEST_SEED repeats
	@DAL_TEST_EXACTLY_ONCE=all $(BIN)/python -m pytest tests/integration/idempotency/test_storm.py $(ARGS)

prove-outbox: server ## messages, whose relays are killed: none lost, none out of order
	@DAL_TEST_EXACTLY_ONCE=all $(BIN)/python -m pytest tests/integration/outbox/test_storm.py $(ARGS)

BENCH := .venv-bench
$(BENCH)/.packages: requirements/bench.txt requirements/mysqlclient.txt scripts/packages scripts/mysqlclient
	@scripts/packages $(PYTHON) $(BENCH) requirements/bench.txt
	@scripts/mysqlclient $(BENCH) requirements/mysqlclient.txt
	@touch $@

.PHONY: bench profile
bench: $(BENCH)/.packages ## dal beside what else one would pick, half an hour; ARGS="--quick warm cold"
	@$(BENCH)/bin/python scripts/ensure_server.py
	@$(BENCH)/bin/python -m benchmarks $(ARGS)

profile: $(BENCH)/.packages ## where a warm invocation, or with ARGS=cold a cold start, spends its time
	@$(BENCH)/bin/python scripts/ensure_server.py
	@$(BENCH)/bin/python -m benchmarks.profile $(ARGS)

lint: setup ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup ## mypy strict, and pyright on what users see
	@$(BIN)/mypy
	@$(BIN)/pyright --pythonpath $(BIN)/python

contracts: setup ## which room may import which
	@$(BIN)/lint-imports --no-logo

check: lint types contracts ## lint, types and contracts

lock: setup ## remake requirements/ from pyproject.toml, with the newest allowed
	@$(BIN)/python -m uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	  --extra dev --generate-hashes --no-header --output-file requirements/dev.txt pyproject.toml
	@for extra in bench mysqlclient; do $(BIN)/python -m uv pip compile --quiet --upgrade --universal \
	  --python-version 3.11 --constraint requirements/dev.txt --extra $$extra --generate-hashes \
	  --no-header --output-file requirements/$$extra.txt pyproject.toml; done

clean: ## remove what these targets made
	rm -rf $(VENV) $(BENCH) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
