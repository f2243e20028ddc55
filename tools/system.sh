# Programs that the system has to bring. All are looked for before anything starts.

PYTHON_MIN=3.11
NODE_MIN=18
REFRESHED=

# check_tools NEED...: what the verb needs beyond a compiler. As root on Debian and Ubuntu, missing
# programs are installed.
check_tools() {
    local missing packages
    PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    find_missing "$@"
    ((${#missing[@]} > 0)) || return 0
    printf '==> missing here: %s\n' "${missing[@]}"
    have apt-get || die "install them as your system does it, then run this again."
    ((EUID == 0)) || die "run this once as root, which installs them; or install: ${packages[*]}"
    refresh_packages
    find_missing "$@" # again: the names of the packages are known only now
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
    have cargo || want "$(debian_rust || echo rustup)" \
        "cargo: Rust $RUST_MIN or newer; rustup brings the version that rust-toolchain.toml pins"
    have wasm-opt || want binaryen "wasm-opt, of Binaryen: makes the filter smaller"
    for need in "$@"; do
        case "$need" in
            module) ! runs_modules || has_python || want_python ;;
            python) has_python || want_python ;;
            lint) ! lints_by_package || want "rustfmt-web rust-web-clippy" \
                "cargo fmt, cargo clippy: format and lints" ;;
            openssl) have openssl || want openssl "openssl: makes the certificates of the tests" ;;
            node) has_node || want "nodejs npm" \
                "node, npm: Node.js $NODE_MIN or newer with its npm, for other people's signatures" ;;
            h2load) have h2load || want nghttp2-client "h2load: puts load on Envoy" ;;
        esac
    done
}

want_python() { want python3-venv "python3: Python $PYTHON_MIN or newer, with its modules venv and ensurepip"; }

# want PACKAGES TEXT: notes what is missing, and the Debian packages (one or more words) that bring it.
want() {
    local names
    read -ra names <<<"$1"
    packages+=("${names[@]}")
    missing+=("$2")
}

has_python() {
    local version
    have python3 && python3 -c 'import ensurepip, venv' &>/dev/null || return 1
    version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    at_least "$version" "$PYTHON_MIN" || too_old python3 "$version" "$PYTHON_MIN"
}

has_node() {
    local version
    have node && have npm || return 1
    version=$(node -p 'process.versions.node')
    at_least "$version" "$NODE_MIN" || too_old node "$version" "$NODE_MIN"
}

too_old() { die "$1 is $2; $3 or newer is needed. Put a newer one first on PATH, under the name $1."; }

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

# Whether format and lints need packages: rustup brings its own, and an ordinary user goes without.
lints_by_package() { ((EUID == 0)) && ! have rustup && ! have cargo-fmt && debian_has rustfmt-web; }

debian_has() { [[ "$(apt-cache policy "$1" 2>/dev/null)" == *"Candidate: "[0-9]* ]]; }

# Once a run: a fresh machine has no lists yet, and old lists name files that are gone.
refresh_packages() {
    [[ -z "$REFRESHED" ]] || return 0
    step "apt-get update" quiet apt-get update
    REFRESHED=yes
}

# Installs missing packages; tells an ordinary user which. Never removes anything.
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
