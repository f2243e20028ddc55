# The filter as an Envoy dynamic module: where it can be made, how it is linked, and the check of what it needs.

# The oldest GNU C library that the module runs with: Debian 11's, and older than that of Envoy's own image.
GLIBC=2.31
MODULE_PACKAGES=tools/module-requirements.txt

# Asked before there is a compiler.
runs_modules() { [[ "$(uname -sm)" =~ ^Linux\ (x86_64|aarch64)$ ]] && have getconf && silent getconf GNU_LIBC_VERSION; }

# Whether there is what makes the module here. Else says why.
can_make_modules() {
    if ! runs_modules; then
        no_module dist/libwaybill.so "modules run on Linux with the GNU C library, on x86-64 and aarch64" || return
    fi
    python_environment
    has_packages "$MODULE_PACKAGES" || try "Python packages of $MODULE_PACKAGES" pip_install "$MODULE_PACKAGES" ||
        no_module dist/libwaybill.so "zig can't be had here, which links it (see above)"
}

# can_make_other TARGET FILE: the same for another system.
can_make_other() {
    has_target "$1" || add_target "$1" "the module isn't compiled for it" || no_module "$2" "there is no Rust for $1"
}

# A stranger goes on without it; a server that tests each commit doesn't.
no_module() {
    [[ -z "${CI:-}" ]] || die "can't make $1: $2"
    skip "$1: $2"
    return 1
}

module_target() { echo "$(uname -m)-unknown-linux-gnu"; }

# The other system that Envoy has modules on: compiled for here, not run.
other_target() { [[ $(uname -m) == aarch64 ]] && echo x86_64-unknown-linux-gnu || echo aarch64-unknown-linux-gnu; }

# module_cargo TARGET COMMAND...: links by zig, which brings each version of that library. This machine's own would
# bind newer functions.
module_cargo() {
    PATH=$PWD/.build/venv/bin:$PATH CARGO_ENCODED_RUSTFLAGS=$(joined "$(remaps rustc)") \
        cargo-zigbuild "${@:2}" --target "$1.$GLIBC" --target-dir target
}

# make_module TARGET PROFILE FEATURES
make_module() {
    module_cargo "$1" rustc --profile "$2" --locked --lib --crate-type cdylib --no-default-features --features "$3"
}

# Every function that the module asks of the C library is old enough, and it asks nothing but Envoy beside.
check_symbols() {
    local newest strangers
    newest=$(symbols "$1" UND | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n1)
    [[ "$(printf '%s\n' "${newest#GLIBC_}" "$GLIBC" | sort -V | tail -n1)" == "$GLIBC" ]] ||
        die "$1 needs $newest; it has to run with GLIBC_$GLIBC"
    strangers=$(symbols "$1" UND | grep -v '@GLIBC_\|^envoy_dynamic_module_callback_\|^_ITM_\|^__gmon_start__$\|^__cxa_finalize$' || true)
    [[ -z "$strangers" ]] || die "$1 needs symbols that neither Envoy nor the C library has:" $strangers
    say "$1: $(wc -c <"$1") bytes, needs $newest or newer"
}

# Both are the same module to Envoy: the hooks that it has, and the callbacks that it asks for.
check_same_interface() {
    local interface
    interface=$(symbols "$1" | grep '^envoy_' | sort)
    [[ -n "$interface" && "$interface" == "$(symbols "$2" | grep '^envoy_' | sort)" ]] ||
        die "$1 and $2 don't have the same hooks and callbacks"
}

# symbols FILE [UND]: the names in the table that a loader reads, or only those that the file lacks. For any system.
symbols() { readelf -W --dyn-syms "$1" | awk -v of="${2:-}" '$8 != "" && (of == "" || $7 == of) { print $8 }'; }
