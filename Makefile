# `make demo` needs Rust alone. `make test` installs what its tests need when it may, and says what it skips otherwise.

CARGO ?= cargo
# Fabrics, their load and their captures: Debian's names.
DEBIAN_PACKAGES := openvswitch-switch mininet tshark tcpdump ethtool iproute2 iputils-ping iperf3 util-linux python3 python3-yaml python3-venv nftables conntrack conntrackd
# Peer programs of the OpenFlow and P4Runtime codecs, in an environment of their own.
PEERS := target/peers
PIP := $(PEERS)/bin/pip install -q --disable-pip-version-check
# Newest messages; p4runtime-shell asks for older ones, so that these are beside them.
P4RUNTIME := 1.6.0
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)
# One profile for tests and program: nothing is built twice.
ifeq ($(NEXTEST),yes)
RUN_TESTS = $(CARGO) nextest run --release
else
RUN_TESTS = $(CARGO) test --release
endif

export PATH := $(CURDIR)/$(PEERS)/bin:$(PATH)

# Of each fuzz target.
SECONDS ?= 60

.PHONY: demo test accept bench check deps fuzz help

help:
	@echo "demo    embedded fabric, controller, REST on 127.0.0.1:8080; a day in a minute"
	@echo "test    everything needed for trust; as root on real Open vSwitch"
	@echo "accept  the long forms of the tests"
	@echo "fuzz    every fuzz target for SECONDS=60 each, with the stable compiler"
	@echo "bench   benchmarks; reports in target/bench/"
	@echo "check   format, lints, licences, structure, documentation"
	@echo "deps    what the tests need beside Rust (as root)"

demo:
	$(CARGO) run --release -- demo

test: deps
	$(RUN_TESTS) $(FILTER)

accept: deps
	FORESHADOW_LONG=1 $(RUN_TESTS) $(FILTER)
	$(MAKE) fuzz SECONDS=600

fuzz:
	CARGO="$(CARGO)" fuzz/build.sh
	fuzz/run.sh $(SECONDS)

bench:
	$(CARGO) run --release -- bench loop --json target/bench/report.json
	$(CARGO) run --release -- bench scale --json target/bench/scale.json

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --release --all-targets -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) fetch --quiet && $(CARGO) deny --offline check bans licenses sources; \
	else echo "skipped: licences (cargo-deny is not installed)"; fi
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc --release --no-deps --document-private-items
	$(CARGO) test --release --test tidy

# Tests whose program is still missing afterwards print `skipped: why`.
deps:
	@missing=""; for package in $(DEBIAN_PACKAGES); do \
		dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" != 0 ]; then echo "skipped: Debian packages$$missing (not root)"; \
	elif ! command -v apt-get >/dev/null; then echo "skipped: Debian packages$$missing (no apt-get)"; \
	else echo "installing$$missing"; apt-get update -q >/dev/null; \
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing >/dev/null || echo "skipped:$$missing"; fi
	@if $(PEERS)/bin/python3 -c 'import os_ken, p4runtime_sh' 2>/dev/null; then :; else \
		python3 -m venv $(PEERS) && $(PIP) os-ken || echo "skipped: os-ken (it could not be installed)"; \
		$(PIP) os-ken p4runtime p4runtime-shell || echo "skipped: p4runtime-shell (it could not be installed)"; fi
	@if [ -d $(PEERS)/p4runtime-$(P4RUNTIME) ]; then :; else \
		$(PIP) --no-deps --target $(PEERS)/p4runtime-$(P4RUNTIME) p4runtime==$(P4RUNTIME) \
		|| echo "skipped: p4runtime $(P4RUNTIME) (it could not be installed)"; fi
