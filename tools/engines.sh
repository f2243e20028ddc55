# The engines of `./build.sh test-engines`.

# chdb has wheels for Linux and macOS only, and each package for some versions of Python.
engine_packages() {
    local file=tests/engines/requirements.txt
    has_packages "$file" || try "Python packages of $file" pip_install "$file"
}

# Exports PROMETHEUS, the folder of prometheus and promtool. Debian's package is unpacked, not installed: an installed one
# starts a service that listens to everybody.
find_prometheus() {
    if have prometheus && have promtool; then
        PROMETHEUS=$(dirname "$(command -v prometheus)")
    else
        PROMETHEUS=$PWD/.build/prometheus/usr/bin
        [[ -x $PROMETHEUS/promtool ]] || unpack_prometheus || return 1
    fi
    export PROMETHEUS
}

unpack_prometheus() {
    have apt-get && have dpkg-deb || return 1
    ((EUID != 0)) || refresh_packages
    debian_has prometheus || return 1
    rm -rf .build/prometheus && mkdir -p .build/prometheus
    try "apt-get download prometheus" fetch_prometheus
}

fetch_prometheus() {
    (cd .build/prometheus && silent apt-get download prometheus) || return 1
    dpkg-deb -x .build/prometheus/prometheus_*.deb .build/prometheus
    rm .build/prometheus/prometheus_*.deb
}
