# The filter as an Envoy dynamic module: how it is linked, and the check of what it needs.

# The oldest GNU C library that the module runs with: Debian 11's, and older than that of Envoy's own image.
GLIBC=2.31

# Links by zig, which brings each version of that library: this machine's own would bind newer functions.
module_cargo() {
    local target
    target=$(rust_host)
    PATH=$PWD/.build/venv/bin:$PATH CARGO_ENCODED_RUSTFLAGS=$(joined "$(remaps rustc)") \
        cargo-zigbuild "$@" --target "$target.$GLIBC" --target-dir target
}

# Every function that the module asks of the C library is old enough, and it asks nothing but Envoy beside.
check_symbols() {
    local newest
    newest=$(objdump -T "$1" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n1)
    at_least "${newest#GLIBC_}" "$GLIBC" && [[ "$newest" != "GLIBC_$GLIBC" ]] &&
        die "$1 needs $newest; it has to run with GLIBC_$GLIBC"
    if objdump -T "$1" | grep '\*UND\*' | grep -v 'GLIBC_\|GCC_\|envoy_dynamic_module_callback_\|_ITM_\|__gmon_start__\|__cxa_finalize'; then
        die "$1 needs symbols that neither Envoy nor the C library has (above)"
    fi
    say "$1: $(wc -c <"$1") bytes, needs $newest or newer"
}
