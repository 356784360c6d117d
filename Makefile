# What a person types; `make help` lists it. ARGS goes to the command as it is.

CARGO ?= cargo
BINARY := $(or $(CARGO_TARGET_DIR),target)/release/minitorrent

.DEFAULT_GOAL := help
.PHONY: help build run-tracker needs-file seed needs-meta fetch demo test check bench bench-quick faults install clean

help:
	@echo "make run-tracker             the tracker and its page, on port 5000   (PORT=, ARGS=)"
	@echo "make seed FILE=big.iso       share a file                             (TRACKER=, PORT=, ARGS=)"
	@echo "make fetch META=big.json     fetch it; META is a path or a URL        (OUT=, PORT=, ARGS=)"
	@echo "make demo                    100 MB from a seeder to two fetchers, on this machine"
	@echo "make test                    install what the tests need, then run every test"
	@echo "make check                   format, clippy and docs, warnings as errors"
	@echo "make bench                   every promise measured, beside real clients  (BENCH_ROWS=, BENCH_CLIENTS=, BENCH_RUNS=,"
	@echo "                             BENCH_SIZE=, BENCH_SWARMS=, BENCH_SECONDS=, RQBIT=); bench-quick takes two minutes"
	@echo "make faults                  kills, power cuts, full disks, bad links: each so often, one after the other  (COUNT=100)"
	@echo "make install                 put the binary where cargo puts them"
	@echo "make clean                   remove what was built"

build:
	@$(CARGO) build --release --quiet

run-tracker: build
	@exec $(BINARY) tracker $(if $(PORT),--port $(PORT)) $(ARGS)

needs-file:
	@test -n "$(FILE)" || { echo "Say which file to share: make seed FILE=big.iso" >&2; exit 2; }

seed: needs-file build
	@exec $(BINARY) seed "$(FILE)" $(if $(TRACKER),--tracker "$(TRACKER)") $(if $(PORT),--port $(PORT)) $(ARGS)

needs-meta:
	@test -n "$(META)" || { echo "Say what to fetch, by path or URL: make fetch META=big.json" >&2; exit 2; }

fetch: needs-meta build
	@exec $(BINARY) fetch "$(META)" $(if $(OUT),--out "$(OUT)") $(if $(PORT),--port $(PORT)) $(ARGS)

demo: build
	@tests/demo.sh $(BINARY)

# The matrix of real clients and the zoo of bad peers keep both cores busy, so they come last and alone, and they run whatever
# the others say.
test:
	@tests/setup.sh
	@failed=0; \
	$(CARGO) test --no-fail-fast -- --skip matrix:: --skip zoo:: || failed=1; \
	$(CARGO) test --test suite -- matrix:: || failed=1; \
	$(CARGO) test --test suite -- zoo:: --test-threads=1 || failed=1; \
	exit $$failed

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --quiet

# What the variables mean stands in tests/bench/options.rs.
bench bench-quick:
	@tests/setup.sh
	@$(if $(filter bench-quick,$@),BENCH_QUICK=1 )$(CARGO) bench --quiet --bench bench

# The long campaign of the fault bench, and the zoo; tests/suite/faults/mod.rs says more.
faults:
	@tests/setup.sh
	@FAULTS=$(or $(COUNT),100) $(CARGO) test --test suite -- faults:: zoo:: kill9:: --test-threads=1

install:
	$(CARGO) install --path . --locked

clean:
	$(CARGO) clean
