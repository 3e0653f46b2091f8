# The way in: each target sets up what it needs (.ci/setup) and asks nothing.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test faults check build bench bench-plots bench-writers clean

# rustup's own directory, for shells that were opened before it was installed.
export PATH := $(PATH):$(HOME)/.cargo/bin

target := $(or $(CARGO_TARGET_DIR),target)

help: ## shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

# The dev profile: a newcomer waits for the build longer than for anything that it would speed up,
# and `make check` has then built half of it.
demo: ## builds, starts a throwaway PostgreSQL with sample data, prints one URL; Ctrl-C ends it all
	@.ci/setup demo
	@cargo build --locked
	@exec "$(target)/debug/rowcast" demo $(ARGS)

test: ## everything: format, lints, docs, unit, SQL, end-to-end, fault, client and browser tests
	@.ci/setup test
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	@source "$(target)/tools/test.env" && export PATH="$$(dirname "$$ROWCAST_TEST_NODE"):$$PATH" && \
	  set -x && npm --prefix clients/javascript test
	@source "$(target)/tools/test.env" && set -x && cargo test --locked $(ARGS)

# Both names may be left out: by chance, and half a minute.
faults: ## the fault suite for long, its mixtures for MINUTES=… from SEED=…
	@.ci/setup test
	@source "$(target)/tools/test.env" && set -x && SEED=$(SEED) MINUTES=$(MINUTES) \
	  cargo test --locked --test main -- faults:: --nocapture

check: ## the quick loop: format, lints, unit tests; no server, no browser
	@.ci/setup build
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked --lib --bins

build: ## the program, optimised, as target/release/rowcast
	@.ci/setup build
	cargo build --locked --release

# The bench profile is the release profile, for both. ARGS='--scenarios idle --servers floor,rowcast-ws'
# for a part.
bench: ## what pushing costs, beside others and beside the bare system calls
	@.ci/setup bench
	@source "$(target)/tools/bench.env" && set -x && cargo bench --locked --bench push -- $(ARGS)

# ARGS='--seconds 1 --rounds 1' for a glance.
bench-writers: ## what Rowcast costs those who write: one table, in about eight minutes
	@.ci/setup demo
	cargo bench --locked --bench writers -- $(ARGS)

# RUN= may be left out: what the page shows is drawn again then.
bench-plots: ## the plots and tables of docs/performance.md from RUN=target/bench/push-….json
	@.ci/setup build
	cargo bench --locked --bench plots -- $(RUN)

clean: ## removes everything that was built or unpacked here
	cargo clean
