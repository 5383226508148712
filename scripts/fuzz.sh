#!/usr/bin/env bash
# Fuzzes one target of tests/fuzz with libFuzzer: `scripts/fuzz.sh events 600`.
#
# It works with the stable toolchain, and needs a C++ compiler for libFuzzer. What it finds on the way
# stays under target/fuzz; `scripts/fuzz.sh events minimise` brings what is new to the kept corpus.
# An input that fails is written to target/fuzz/failures/, and belongs into the corpus with its fix.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly USAGE="usage: scripts/fuzz.sh TARGET SECONDS, or scripts/fuzz.sh TARGET minimise"
readonly target=${1:-} seconds=${2:-}
# Not from the root, as libFuzzer's arguments are separated by spaces.
readonly corpus=tests/fuzz/corpus/$target.txt words=tests/fuzz/words/$target
if [[ -z $target || ! -f $corpus || ! $seconds =~ ^([1-9][0-9]*|minimise)$ ]]; then
    echo "fuzz.sh: $USAGE; the targets are: $(cd tests/fuzz/corpus && basename -s .txt -- *.txt | xargs)" >&2
    exit 64
fi
scripts/need.sh c++ python

readonly folder=target/fuzz
readonly kept=$folder/kept/$target found=$folder/found/$target failures=$folder/failures/$target
mkdir -p "$found" "$failures"

# The corpus is one text file, an input a line; libFuzzer wants a folder of files.
unpack() {
    rm -rf "$kept"
    mkdir -p "$kept"
    python3 - "$corpus" "$kept" <<'PYTHON'
import pathlib
import sys

corpus, folder = map(pathlib.Path, sys.argv[1:])
for number, line in enumerate(corpus.read_text().splitlines()):
    (folder / f"{number:05}").write_bytes(line.encode().decode("unicode_escape").encode("latin-1"))
PYTHON
}

pack() {
    python3 - "$kept" "$corpus" <<'PYTHON'
import pathlib
import sys

folder, corpus = map(pathlib.Path, sys.argv[1:])
inputs = {file.read_bytes() for file in folder.iterdir()}
lines = sorted(input.decode("latin-1").encode("unicode_escape").decode() for input in inputs)
corpus.write_text("".join(f"{line}\n" for line in lines))
PYTHON
}

# What coverage costs and tells is a matter of LLVM alone, so stable Rust has it. The daemon is built
# along without libFuzzer, is never run, and may lack its symbols.
flags=(
    --cfg fuzzing --cfg fuzzing_libfuzzer
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    '-Clink-arg=-Wl,--unresolved-symbols=ignore-all'
)
export RUSTFLAGS="${flags[*]}"
host=$(rustc -vV | sed -n 's/^host: //p')
# With `--target`, build scripts and macros are left alone.
run() {
    FUZZ_TARGET=$target BOLERO_LIBFUZZER_ARGS="$*" nice -n 19 cargo test --locked --profile fuzz --target "$host" \
        --target-dir "$folder" --test fuzz -- --nocapture
}

unpack
if [[ $seconds == minimise ]]; then
    # By edges alone: counts and compared values would keep thousands of inputs that say the same.
    run -set_cover_merge=1 -use_counters=0 -use_cmp=0 -max_len=4096 "$kept" "$found"
    pack
else
    options=("-max_total_time=$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048
        "-artifact_prefix=$failures/" -print_final_stats=1 -use_value_profile=1)
    if [[ -e $words ]]; then
        options+=("-dict=$words")
    fi
    run "${options[@]}" "$found" "$kept"
fi
