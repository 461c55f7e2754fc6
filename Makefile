# Two commands: `make demo` holds an interview on this machine, `make test` passes the tests.
.PHONY: demo test vm lint build prepare setup setup-test web help
.DEFAULT_GOAL := help

VIVA := target/release/viva
export VIVA_LIVEKIT_SERVER ?= $(CURDIR)/.tools/livekit-server
export VIVA_MODELS ?= $(CURDIR)/models/files
export VIVA_PYTHON ?= $(CURDIR)/.tools/venv/bin/python

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: prepare $(if $(findstring --stay,$(ARGS)),web) ## Hold an interview on this machine; ARGS=--stay to talk yourself
	@$(VIVA) demo --directory demo-out --livekit-server "$(VIVA_LIVEKIT_SERVER)" $(ARGS)

test: setup-test lint ## Pass all tests, against real servers
	@scripts/queries --check
	@scripts/test
	@$(VIVA) models prepare >/dev/null
	@VIVA_LITESTREAM="$(VIVA_MODELS)/litestream/litestream" tests/systemd/run $(VIVA)
	@tests/nix/run

vm: prepare ## Try the units' limits on an emulated machine; takes minutes
	@tests/vm/run $(VIVA)

lint: ## Check format and lints
	@cargo fmt --all --check
	@cargo clippy --release --workspace --all-targets --locked --quiet -- --deny warnings

build: setup ## Build the release binary
	@cargo build --release --locked --bin viva

prepare: build ## Make the models load fast
	@$(VIVA) models prepare >/dev/null

web: ## Fetch LiveKit's browser client for the page
	@command -v npm >/dev/null || { echo 'missing: npm; install Node.js 20 or later, or apt-get install npm' >&2; exit 1; }
	@cd web && npm ci --silent --no-audit --no-fund --prefer-offline

setup: ## Install and fetch what is missing
	@scripts/setup

setup-test:
	@scripts/setup --test
