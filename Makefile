# What a person types; `make help` lists it. ARGS goes to the command as it is.

CARGO ?= cargo
DIST := $(or $(CARGO_TARGET_DIR),target)/dist
BINARY := $(or $(CARGO_TARGET_DIR),target)/release/minitorrent

.DEFAULT_GOAL := help
.PHONY: help build run-tracker needs-file seed needs-meta fetch demo test check deny bench bench-quick faults soak small fuzz fuzz-corpus fuzz-keep tsan dist dist-check deb install clean

help:
	@echo "make run-tracker             the tracker and its page, on port 5000   (PORT=, ARGS=)"
	@echo "make seed FILE=big.iso       share a file                             (TRACKER=, PORT=, ARGS=)"
	@echo "make fetch META=big.json     fetch it; META is a path or a URL        (OUT=, PORT=, ARGS=)"
	@echo "make demo                    100 MB from a seeder to two fetchers, on this machine"
	@echo "make test                    install what the tests need, then run every test"
	@echo "make check                   format, clippy and docs, warnings as errors"
	@echo "make deny                    licences and sources of the dependencies, by cargo-deny"
	@echo "make bench                   every promise measured, beside real clients  (BENCH_ROWS=, BENCH_CLIENTS=, BENCH_RUNS=,"
	@echo "                             BENCH_SIZE=, BENCH_SWARMS=, BENCH_SECONDS=, RQBIT=); bench-quick takes two minutes"
	@echo "make faults                  kills, power cuts, full disks, bad links: each so often, one after the other  (COUNT=100)"
	@echo "make soak                    an hour of forty peers that come and go, with faults on  (SECONDS=)"
	@echo "make small                   1 GiB and 20,000 small files by machines of 64 MiB and a tenth of a core, beside 200 announcing peers"
	@echo "make fuzz TARGET=http        ten minutes of fuzzing what strangers write   (SECONDS=; the targets: tests/fuzz/corpus);"
	@echo "                             fuzz-keep writes what it found worth keeping into the corpus"
	@echo "make tsan                    the library's tests under the thread sanitizer, on nightly with rust-src"
	@echo "make dist                    static binaries for x86_64, aarch64, armv7 and arm in target/dist, with their sums  (TARGETS=)"
	@echo "make dist-check              each of them does the whole main job, by qemu-user-static; one is built again and compared  (TARGETS=, AGAIN=)"
	@echo "make deb                     Debian packages for amd64, arm64 and armhf of them, in target/dist"
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

# What measures times or speeds runs alone. The matrix of real clients and the zoo of bad peers keep both cores busy, so they come last.
# Each runs whatever the others say.
test:
	@tests/setup.sh
	@failed=0; \
	$(CARGO) test --no-fail-fast -- --skip matrix:: --skip zoo:: --skip defaults:: --skip unsaid:: || failed=1; \
	$(CARGO) test --test suite -- defaults:: unsaid:: --test-threads=1 || failed=1; \
	$(CARGO) test --test suite -- matrix:: || failed=1; \
	$(CARGO) test --test suite -- zoo:: --test-threads=1 || failed=1; \
	exit $$failed

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --quiet

# Licences, sources and duplicates of every dependency; advisories too where the network allows (make deny DENY=advisories).
deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo "cargo-deny is not installed: cargo install --locked cargo-deny" >&2; exit 2; }
	$(CARGO) deny check --config .deny.toml $(or $(DENY),bans licenses sources)

# libFuzzer wants compiler flags that stable does not offer by itself; RUSTC_BOOTSTRAP lets any toolchain have them. It wants a folder with a
# file for each input: the corpus is unpacked into the target folder, and what is found new stays there. `fuzz-keep` writes the smallest set that
# reaches the same code back into the corpus.
FUZZED = tests/fuzz/target/corpus/$(TARGET)
FUZZ = RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir tests/fuzz $(TARGET)

fuzz-corpus:
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is not installed: cargo install cargo-fuzz" >&2; exit 2; }
	@test -f "tests/fuzz/corpus/$(TARGET)" || { echo "Say what to fuzz: make fuzz TARGET=, one of" $$(ls tests/fuzz/corpus) >&2; exit 2; }
	@mkdir -p $(FUZZED)
	@number=0; while read -r line; do number=$$((number + 1)); echo "$$line" | base64 -d >$(FUZZED)/kept-$$number; done <tests/fuzz/corpus/$(TARGET)

fuzz: fuzz-corpus
	@$(FUZZ) $(FUZZED) -- -max_total_time=$(or $(SECONDS),600) -rss_limit_mb=1024 -timeout=10

fuzz-keep: fuzz-corpus
	@rm -rf $(FUZZED).kept && mkdir -p $(FUZZED).kept
	@$(FUZZ) $(FUZZED).kept $(FUZZED) -- -merge=1 -set_cover_merge=1 -use_counters=0
	@for input in $(FUZZED).kept/*; do base64 -w0 "$$input"; echo; done | LC_ALL=C sort -u >tests/fuzz/corpus/$(TARGET)

# On nightly with rust-src: the standard library must be watched as well. Without TLS, whose C and assembler cannot be.
tsan:
	@RUSTFLAGS=-Zsanitizer=thread $(CARGO) +nightly test -Zbuild-std --no-default-features --lib \
		--target $$(rustc -vV | sed -n 's/^host: //p') --target-dir $(or $(CARGO_TARGET_DIR),target)/tsan

soak:
	@tests/setup.sh
	@SOAK_SECONDS=$(SECONDS) $(CARGO) bench --quiet --bench soak

small: build
	@tests/setup.sh
	@SMALL=full SMALL_PROGRAM=$(abspath $(BINARY)) $(CARGO) test --quiet --test suite -- small::

# What the variables mean stands in tests/bench/options.rs.
bench bench-quick:
	@tests/setup.sh bench
	@$(if $(filter bench-quick,$@),BENCH_QUICK=1 )$(CARGO) bench --quiet --bench bench

# The long campaign of the fault bench, and the zoo; tests/suite/faults/mod.rs says more.
faults:
	@tests/setup.sh
	@FAULTS=$(or $(COUNT),100) $(CARGO) test --test suite -- faults:: zoo:: kill9:: --test-threads=1

# What is built, and what makes it the same bytes each time, stands in the script.
dist:
	@src/package/dist.sh $(TARGETS)

dist-check:
	@src/package/check.sh $(TARGETS)

# Of what `make dist` has built. That for armhf holds the binary for arm, which runs on every Pi.
deb:
	@for target in $(or $(TARGETS),x86_64-unknown-linux-musl aarch64-unknown-linux-musl arm-unknown-linux-musleabihf); do \
		src/package/deb.sh $$target $(DIST) || exit 1; \
	done
	@cd $(DIST) && sha256sum minitorrent[-_]* >SHA256SUMS && ls -l *.deb

install:
	$(CARGO) install --path . --locked

clean:
	$(CARGO) clean
