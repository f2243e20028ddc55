# The Rust compiler, and flags that give the same bytes on every machine.

RUST_MIN=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
RUST_PINNED=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)

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
        debian_is_new_enough
        say "no Rust $RUST_PINNED can be had here; using Debian's $(rust_version /usr/bin/rustc)"
        export RUSTC=/usr/bin/rustc PATH=/usr/bin:$PATH
        return
    fi
    die "Rust $RUST_MIN or newer is needed, found: $(rust_version rustc || echo none that runs)." \
        "Install rustup; it brings the pinned $RUST_PINNED."
}

rust_host() { rustc -vV | sed -n 's/^host: //p'; }

has_target() {
    compgen -G "$(rustc --print target-libdir --target "$1" 2>/dev/null)/libstd-*.rlib" >/dev/null
}

# add_target TARGET ELSE: asks rustup, once. Where it can't download, every later build would wait for it again. ELSE
# says what happens then.
add_target() {
    local stamp=.build/no-$1
    have rustup && [[ -z "${RUSTC:-}" ]] || return 1
    if [[ ! -e $stamp ]]; then
        try "rustup target add $1" silent timeout --foreground 180 rustup target add "$1" && has_target "$1" && return
        mkdir -p .build && touch "$stamp"
    fi
    ! have apt-get || say "rustup can't get $1 here; $2 (\`./build.sh clean\` lets rustup try again)"
    return 1
}

# RUSTUP_AUTO_INSTALL: or rustup would download in silence, and the next step would have nothing to show.
rust_version() { RUSTUP_AUTO_INSTALL=0 "$1" --version 2>/dev/null | cut -d' ' -f2; }

is_new_enough() {
    local version
    version=$(rust_version "$1") && at_least "$version" "$RUST_MIN"
}

debian_is_new_enough() {
    is_new_enough /usr/bin/rustc || die "Debian's rustc-web is too old ($(rust_version /usr/bin/rustc));" \
        "Rust $RUST_MIN or newer is needed. Install rustup."
}

native_cargo() { CARGO_ENCODED_RUSTFLAGS=$(joined "$(remaps rustc)") cargo "$@" --target-dir target; }

# Flags, one a line, that take this machine's paths out of the products: the same commit and compiler give
# the same bytes anywhere. Later flags win, so a registry's folder comes after the folder that holds it.
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

# Renames into place: a running Envoy keeps the old file open.
put() {
    cmp -s "$1" "$2" || { cp "$1" "$2.new" && mv "$2.new" "$2"; }
}
