# `make` lists what there is. ARGS="..." goes to what `run`, `demo` and `bench` start; for `fuzz` it
# names targets, each of which runs for SECONDS.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
SECONDS ?= 60
PREFIX ?= /usr/local
RUSTFMT_CONFIG := --config imports_granularity=Module --config group_imports=StdExternalCrate

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests release run demo dist install deb test test-gpu test-otlp test-package test-systemd bench \
	fuzz lint fmt

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## fetch libmujoco and the models into third_party/, and build the viewer's page (once)
	@scripts/setup
	@scripts/build-web

setup-tests: ## fetch what only the tests need (once)
	@scripts/setup-tests

release: setup
	$(CARGO) build --release -p simward-supervisor -p simward-worker -p simward-renderer -p simward-profiler

run: release ## build, and serve
	exec $(TARGET_DIR)/release/simward serve $(ARGS)

demo: release ## build, and show what it does
	exec $(TARGET_DIR)/release/simward demo $(ARGS)

dist: setup ## build for another place than this folder
	SIMWARD_DIST=1 $(CARGO) build --release -p simward-supervisor -p simward-worker -p simward-renderer \
	    -p simward-profiler

install: ## copy what `make dist` built to PREFIX (/usr/local), below DESTDIR
	@scripts/install $(TARGET_DIR)/release $(PREFIX) $(DESTDIR)

deb: dist ## make a Debian package of it, in target/
	@scripts/deb $(TARGET_DIR)/release $(TARGET_DIR)

test-package: dist ## try the package on a fresh Debian 12, as root
	@scripts/test-package $(TARGET_DIR)/release

test-systemd: dist ## try the package under a real systemd, in a virtual machine, as root
	@scripts/test-systemd $(TARGET_DIR)/release $(TARGET_DIR)/test-systemd

# The tests start the programs of other packages, so those are built first.
# Doc tests are cargo's own: nextest does not run them.
test: setup setup-tests ## run all tests
	$(CARGO) build --workspace
	if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --workspace && $(CARGO) test --workspace --doc; \
	else \
		$(CARGO) test --workspace; \
	fi

# Its libraries take minutes more to build, so `make test` goes without.
test-otlp: ## try what is sent to collectors of OpenTelemetry
	$(CARGO) clippy -p simward-supervisor --all-targets --features otlp -- -D warnings
	$(CARGO) test -p simward-supervisor --lib --features otlp -- spans config

# Needs a driver by NVIDIA, which the machines that run `make test` lack.
test-gpu: release ## try what is measured of a graphics processor
	@scripts/test-gpu $(TARGET_DIR)/release/simward

bench: setup ## measure, in release mode
	$(CARGO) build --release --workspace --bins --examples
	$(CARGO) run --release -p simward-tests --bin bench -- $(ARGS)

fuzz: setup ## feed hostile bytes to all that reads bytes
	@scripts/fuzz $(SECONDS) $(ARGS)

lint: setup ## check formatting, clippy and the docs
	$(CARGO) fmt --all -- --check $(RUSTFMT_CONFIG)
	rustfmt --check $(RUSTFMT_CONFIG) fuzz/fuzz_targets/*.rs
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

fmt: ## format the code
	$(CARGO) fmt --all -- $(RUSTFMT_CONFIG)
	rustfmt $(RUSTFMT_CONFIG) fuzz/fuzz_targets/*.rs
