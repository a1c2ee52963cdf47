#!/bin/sh
# Runs each fuzz target that `build.sh` made for a number of seconds, one after the other, and says what each did.
# usage: run.sh SECONDS [TARGET …]. What a fuzzer finds goes to artifacts/; inputs of new coverage to target/found/.
set -eu
cd "$(dirname "$0")"
seconds=$1
shift
host=$(rustc -vV | sed -n 's/^host: //p')
[ "$#" -gt 0 ] || set -- $(cd fuzz_targets && ls -- *.rs | sed 's/\.rs$//')
for target in "$@"; do
	found=target/found/$target
	log=target/$target.log
	mkdir -p "$found" "artifacts/$target"
	if ! "target/stable/$host/release/$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
		-rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="artifacts/$target/" "$found" "corpus/$target" \
		>"$log" 2>&1; then
		tail -n 30 "$log"
		echo "$target: failed; what did it is in fuzz/artifacts/$target/"
		exit 1
	fi
	coverage=$(sed -n 's/.*\(cov: [0-9]*\).*\(ft: [0-9]*\).*/\1 \2/p' "$log" | tail -n 1)
	executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	echo "$target: $executions executions in $seconds s, $coverage"
done
