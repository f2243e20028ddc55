# Modules for Envoy: their compiler, its flags, and what makes the filter smaller.

TARGET=wasm32-wasip1
DEBIAN_WASM_PACKAGES=(cargo-web rustc-web rust-web-src rust-web-llvm wasi-libc)
# Inlining: LLVM's thresholds are 225, and 325 for `#[inline]`. Those make a module a fifth larger, and Envoy
# runs it once a request out of cold caches. At 25 an allowed request costs 2 % more instructions.
# SIMD: SHA-256 of events and credentials in a fifth of the code.
SMALLER="-Cllvm-args=-inline-threshold=38
-Cllvm-args=-inlinehint-threshold=225
-Cllvm-args=-inlinecold-threshold=0
-Ctarget-feature=+simd128"
# What rustc's wasm32-wasip1 uses, and SIMD; every engine has them.
WASM_FEATURES=(--enable-bulk-memory --enable-sign-ext --enable-nontrapping-float-to-int --enable-mutable-globals
    --enable-reference-types --enable-multivalue --enable-simd)
# What Envoy calls. The filter leaves the SDK's other callbacks empty.
EXPORTS=(memory _initialize proxy_abi_version_0_2_1 proxy_on_memory_allocate proxy_on_vm_start
    proxy_on_configure proxy_on_tick proxy_on_http_call_response proxy_on_context_create
    proxy_on_request_headers proxy_on_request_trailers proxy_on_delete)

# Sets WASM_COMPILER (its name, for people) and WASM_DIR (the folder of its products). The toolchain's own
# target comes first, asked of rustup if need be; then Debian's compiler.
choose_wasm_compiler() {
    if [[ "${WAYBILL_WASM_RUSTC:-}" != debian ]] && { has_own_target || add_target "$TARGET" "Debian's compiler makes the filter"; }; then
        WASM_COMPILER="Rust $(rust_version rustc)"
        WASM_DIR=target/$TARGET/release
        return
    fi
    have apt-get || die "Rust $(rust_version rustc) has no target $TARGET, and \`rustup target add $TARGET\`" \
        "doesn't work here. Add that target as your system does it."
    debian_install "${DEBIAN_WASM_PACKAGES[@]}"
    debian_install "$(readlink /usr/bin/rust-lld)" # a link to, say, lld-22, which no package depends on
    debian_is_new_enough
    WASM_COMPILER="Debian's Rust $(rust_version /usr/bin/rustc)"
    WASM_DIR=target/debian/$TARGET/release
}

has_own_target() { has_target "$TARGET"; }

wasm_cargo() {
    if [[ $WASM_DIR == target/debian/* ]]; then
        debian_wasm_cargo "$@"
    else
        CARGO_ENCODED_RUSTFLAGS=$(joined "$(remaps rustc)
$SMALLER") cargo "$@" --target "$TARGET" --target-dir target
    fi
}

# Debian has no ready standard library for the target: cargo builds it from source, against wasi-libc.
debian_wasm_cargo() {
    local flags libc
    libc=$(dirname "$(dpkg -L wasi-libc | grep '/libc\.a$' | grep -v threads | head -n1)")
    flags="$(remaps /usr/bin/rustc)
$SMALLER
-Clink-self-contained=no
-Lnative=$libc"
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_ENCODED_RUSTFLAGS=$(joined "$flags") \
        CARGO_TARGET_WASM32_WASIP1_LINKER=/usr/bin/rust-lld \
        /usr/bin/cargo "$@" -Z build-std=std,panic_abort --target "$TARGET" --target-dir target/debian
}

# shrink FROM TO: Binaryen takes a tenth off LLVM's module. It also removes the SDK's empty callbacks, which
# Envoy would call for each request and each part of a body. Its version is part of what makes builds equal.
shrink() {
    local stamp
    stamp="$(sha256sum <"$1") -Oz ${EXPORTS[*]} $(wasm-opt --version)"
    [[ -f $2 && "$(cat .build/shrunk 2>/dev/null)" == "$stamp" ]] && return 0
    step "smaller ($(wasm-opt --version))" smaller "$1" .build/waybill.wasm
    put .build/waybill.wasm "$2"
    echo "$stamp" >.build/shrunk
}

smaller() {
    printf '%s\n' "${EXPORTS[@]}" | sed 's/.*/{"name": "&", "export": "&", "root": true}/' |
        paste -sd, | sed 's/.*/[&]/' >.build/exports.json
    wasm-metadce "${WASM_FEATURES[@]}" --graph-file .build/exports.json "$1" -o "$2" >/dev/null
    wasm-opt -Oz "${WASM_FEATURES[@]}" "$2" -o "$2"
}
