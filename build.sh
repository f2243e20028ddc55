#!/usr/bin/env bash
# Builds, shows and tests Waybill: one verb each, see `./build.sh help`. Finished steps are skipped in the
# next run. tools/ finds and installs what a verb needs.
set -euo pipefail
CALLED_FROM=$PWD
cd "$(dirname "$0")"
for part in steps system rust wasm module envoy engines; do . "tools/$part.sh"; done

main() {
    case "${1:-build}" in
        build) check_tools module; build both ;;
        demo) check_tools python; build; demo ;;
        prepare) check_tools python; build; prepare ;;
        test) check_tools python lint openssl h2load node; build; run_tests ;;
        test-engines) check_tools python openssl h2load node; build both; cross; test_module; test_engines ;;
        cross) check_tools module; build both; cross ;;
        fuzz) check_tools python openssl; build; fuzz "${@:2}" ;;
        edits) check_tools python openssl; build; edits "${@:2}" ;;
        bench) check_tools python h2load; build both; bench "${@:2}" ;;
        clean) rm -rf dist .build target ;;
        help | -h | --help) usage ;;
        *) usage >&2; exit 2 ;;
    esac
}

usage() {
    cat <<TEXT
usage: ./build.sh [verb]
  build   make dist/waybill.wasm (the filter), dist/libwaybill.so (the same as Envoy's dynamic module, on Linux) and
          dist/waybill (the command line); the default
  demo    build, then a told story: requests through a real Envoy, and what became of each
  prepare build, then make what the demo's nodes need in dist/: register, keys, signed snapshot, Envoy's files
  test    build, then format, lints, unit tests, Envoy's own check of envoy/*.yaml, tests in a real Envoy
  test-engines
          build, then the rest: cross, the tests in a real Envoy that are of both hosts, on the module, and what needs
          heavy engines: Prometheus, ClickHouse, DuckDB, OpenTelemetry
  cross   build, then make the module for the other system that Envoy has modules on, and check it: on x86-64
          dist/libwaybill-aarch64.so
  fuzz SECONDS [SEED]
          build, then send random requests through the files of envoy/ in a real Envoy; \`test\` does 15 seconds
  edits SECONDS [SEED]
          build, then edit the files of envoy/ at random, play each in a real Envoy, and ask \`waybill check\` about it;
          \`test\` does a minute
  bench [PART...]
          build, then measure what a request costs, beside other ways to do the same, and what a snapshot and remembered
          nonces cost (an hour and a half). Parts: request, steps, chain, replays, desk (the command line over a million
          events), and compile, lookups, requests, steady, memory, swap, turns: the last five on either host
  bench mixed MINUTES
          build, then everything at once for so long: requests, chains, hostile requests, new snapshots and
          configurations; fails where a request is lost
  bench sharing [SEEDS]
          build, then count what \`waybill sharing\` names, honest or hiding, in ten seeds of made traffic, or so many
  clean   remove dist/, .build/ and target/
  help    this text
Environment: ENVOY=<path of an Envoy to use>  WAYBILL_HOST=module (demo, fuzz, bench: on the dynamic module)
  WAYBILL_WASM_RUSTC=debian (make the filter with Debian's rustc-web)
TEXT
}

# build [both]: with the module, where that is asked for or the host that is asked for.
build() {
    local parts=(filter desk)
    prepare_rust
    choose_wasm_compiler
    mkdir -p dist .build
    if [[ "${1:-}" == both || "${WAYBILL_HOST:-}" == module ]] && can_make_modules; then
        parts+=(module)
    fi
    step "crates that Cargo.lock names" cargo fetch --locked --quiet --target "$TARGET" --target "$(rust_host)"
    together "dist/: ${parts[*]}" "${parts[@]}"
    say "dist/waybill.wasm: $(wc -c <dist/waybill.wasm) bytes, sha256 $(sha256sum <dist/waybill.wasm | cut -d' ' -f1)"
}

filter() {
    step "dist/waybill.wasm ($WASM_COMPILER)" wasm_cargo rustc --release --locked --lib --crate-type cdylib \
        --no-default-features --features entry
    shrink "$WASM_DIR/waybill.wasm" dist/waybill.wasm
}

desk() {
    step "dist/waybill (Rust $(rust_version rustc))" native_cargo build --profile desk --locked --bin waybill \
        --no-default-features --features desk
    put target/desk/waybill dist/waybill
}

module() {
    step "dist/libwaybill.so (Rust $(rust_version rustc))" make_module "$(module_target)" module module
    put "target/$(module_target)/module/libwaybill.so" dist/libwaybill.so
    check_symbols dist/libwaybill.so
}

# The module for another system is compiled and checked here, not run.
cross() {
    local target file
    target=$(other_target)
    file=dist/libwaybill-${target%%-*}.so
    has_module && can_make_other "$target" "$file" || return 0
    step "$file" make_module "$target" module module
    put "target/$target/module/libwaybill.so" "$file"
    check_symbols "$file"
    check_same_interface "$file" dist/libwaybill.so
}

# Panics on demand, which shows the barrier. Made as `cargo test` makes its own: it is for this machine alone.
panics() {
    step ".build/panics.so" cargo rustc --locked --lib --crate-type cdylib --no-default-features --features panics
    put target/debug/libwaybill.so .build/panics.so
}

demo() {
    prepare_envoy
    WAYBILL=dist/waybill "$PYTHON" envoy/demo.py
}

prepare() {
    prepare_python
    step "the register, compiled, with real network sources" "$PYTHON" envoy/prepare.py
}

run_tests() {
    prepare_envoy
    python_packages tests/requirements.txt
    node_packages tests/interop
    lint
    test_modules trap
    step "cargo test" cargo test --locked
    prepare
    validate_envoy_files
    export WAYBILL=$PWD/dist/waybill
    envoy_tests
    WAYBILL=dist/waybill step "the demo: each scene ends as it is told" quiet "$PYTHON" envoy/demo.py
    say "test: $STEPS steps passed, $SKIPPED skipped, in $(minutes "$SECONDS")"
}

has_module() { [[ -e dist/libwaybill.so ]]; }

# Side by side: most tests wait, for Envoy or for a clock.
envoy_tests() {
    together "tests in a real Envoy" "on wasm tests/test_*.py" \
        "on wasm tests/envoy/test_[a-e]*.py" "on wasm tests/envoy/test_[f-r]*.py" "on wasm tests/envoy/test_sc*.py" \
        "on wasm tests/envoy/test_s[!c]*.py" "on wasm tests/envoy/test_[t-z]*.py"
}

# The tests in a real Envoy that say nothing of wasm. They are in the second command, as the first has to stay short.
test_module() {
    has_module || return 0
    local file="tests/envoy/test_%s.py "
    prepare_envoy
    python_packages tests/requirements.txt
    node_packages tests/interop
    test_modules trap
    panics
    export PANICS=$PWD/.build/panics.so
    prepare
    validate envoy/module.yaml
    WAYBILL=$PWD/dist/waybill together "tests of the module in a real Envoy" \
        "on module $(printf "$file" chain cost endpoints fuzz hostile module)" \
        "on module $(printf "$file" alike interop mixed sdk secrets start storage)" \
        "on module $(printf "$file" scenarios snapshot streams trail)"
    WAYBILL_HOST=module WAYBILL=dist/waybill step "the demo on the module" quiet "$PYTHON" envoy/demo.py
}

# on HOST FILE...: the tests of these files on that host.
on() { WAYBILL_HOST=$1 "$PYTHON" -m pytest "${@:2}"; }

# Without Prometheus its tests are skipped, and the others run.
test_engines() {
    prepare_envoy
    python_packages tests/requirements.txt
    if ! engine_packages; then
        skip "tests with engines: the packages of tests/engines/requirements.txt can't be installed here (see above)"
        return
    fi
    find_prometheus || skip "alerts and dashboard: there is no Prometheus, and no Debian package of it to fetch"
    prepare
    WAYBILL=$PWD/dist/waybill step "tests with engines" "$PYTHON" -m pytest -rs tests/engines
    say "test-engines: $STEPS steps passed, $SKIPPED skipped, in $(minutes "$SECONDS")"
}

fuzz() { hunt fuzz "$@"; }
edits() { hunt edits "$@"; }

# hunt NAME SECONDS [SEED]: one of the fuzzers of tests/envoy/, for as long as it is told.
hunt() {
    (($# > 1)) || die "missing the number of seconds, for example: ./build.sh $1 600"
    prepare_envoy
    python_packages tests/requirements.txt
    prepare
    WAYBILL=dist/waybill "$PYTHON" "tests/envoy/$1.py" "${@:2}"
}

bench() {
    local part snapshot=()
    case "${1:-}" in
        sharing)
            prepare_python
            WAYBILL=dist/waybill "$PYTHON" tests/bench/sharing.py "${@:2}"
            return
            ;;
        mixed)
            (($# == 2)) || die "missing the number of minutes, for example: ./build.sh bench mixed 30"
            prepare_envoy
            python_packages tests/requirements.txt
            WAYBILL=dist/waybill "$PYTHON" tests/bench/mixed.py "$2"
            return
            ;;
    esac
    prepare_envoy
    test_modules noop speed replays
    export WAYBILL=dist/waybill
    (($# > 0)) || set -- request steps chain compile lookups requests steady memory swap turns replays desk
    for part in "$@"; do
        case "$part" in
            chain) python_packages tests/requirements.txt; "$PYTHON" tests/bench/chain.py ;;
            request | steps) python_packages tests/requirements.txt; peers; "$PYTHON" "tests/bench/$part.py" ;;
            replays | desk) "$PYTHON" "tests/bench/$part.py" ;;
            *) snapshot+=("$part") ;;
        esac
    done
    ((${#snapshot[@]} == 0)) || "$PYTHON" tests/bench/snapshot.py "${snapshot[@]}"
}

# What `bench request` compares Waybill with: a module that does nothing, and a program with servers and the load.
peers() {
    step "tests/modules/peers" native_cargo build --release --locked -p peers --bin peers
    step "tests/modules/peers as a module" module_cargo "$(module_target)" rustc --release --locked -p peers --lib \
        --crate-type cdylib
    export PEERS=$PWD/target/release/peers EMPTY=$PWD/target/$(module_target)/release/libempty.so
}

# Builds modules of tests/modules/, and exports each one's path under its name in capitals. One build for each:
# together, the crates they share would get the features of all.
test_modules() {
    local name
    for name in "$@"; do
        step "tests/modules/$name" wasm_cargo build --release --locked -p "$name"
        export "${name^^}=$PWD/$WASM_DIR/$name.wasm"
    done
}

# Format and lints. A Rust without these tools still runs the rest of the tests.
lint() {
    if cargo fmt --version &>/dev/null; then
        step "cargo fmt --check" cargo fmt --all --check
    else
        skip "format check: there is no rustfmt for Rust $(rust_version rustc)"
    fi
    if ! cargo clippy --version &>/dev/null; then
        skip "lints: there is no clippy for Rust $(rust_version rustc)"
        return
    fi
    step "clippy, native" cargo clippy --locked --all-targets -- -D warnings
    step "clippy, the module" cargo clippy --locked --lib --no-default-features --features panics -- -D warnings
    step "a module that would abort isn't made" refuses_to_abort
    if has_own_target; then
        step "clippy, $TARGET" cargo clippy --locked --lib --no-default-features --features entry \
            --target "$TARGET" -- -D warnings
    else
        skip "lints for $TARGET: Rust $(rust_version rustc) comes without that target"
    fi
}

# Where a panic ended the process, the barrier would stop none.
refuses_to_abort() {
    local said
    ! said=$(cargo clippy --locked --lib --no-default-features --features module -- -Cpanic=abort 2>&1) &&
        [[ "$said" == *"a barrier stops no panic that aborts"* ]] || die "it is made, or refused for another reason: $said"
}

# Every file in envoy/ that is a bootstrap. Run from here, because the files name dist/ relatively.
validate_envoy_files() {
    local file
    for file in $(grep -l '^static_resources:' envoy/*.yaml envoy/steps/*.yaml envoy/observability/*.yaml); do
        [[ $file == envoy/module.yaml ]] || validate "$file" # that one is checked with the module's tests
    done
    if have nginx; then
        step "nginx -t -c envoy/nginx.conf" nginx -p . -c envoy/nginx.conf -e stderr -t -q
    else
        skip "check of envoy/nginx.conf: there is no nginx"
    fi
}

validate() { step "envoy --mode validate -c $1" with_keys "$ENVOY" --mode validate --log-level error -c "$1"; }

# A node that signs doesn't start without a key; these keys are the demo's.
with_keys() {
    (
        set -a
        . dist/chain.env
        WAYBILL_SIGNING_KEY=$WAYBILL_KEY_A
        ENVOY_DYNAMIC_MODULES_SEARCH_PATH=dist
        "$@"
    )
}

main "$@"
