#!/bin/sh
# Builds every fuzz target with the stable compiler: LLVM's coverage counters without a sanitizer, which would find nothing
# in a program without unsafe code that overflow checks and assertions do not find. Arguments go to cargo.
set -eu
cd "$(dirname "$0")"
# Named, so that the flags are not those of build scripts, which link no fuzzer.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" \
	exec "${CARGO:-cargo}" build --release --target "$host" --target-dir target/stable "$@"
