# shellcheck shell=sh disable=SC2034 # variables for the scripts that source it
# Sourced by the other scripts: the Debian packages that Tern needs, and their installation.

packages_build="g++ cmake ninja-build pkg-config libfmt-dev libpcre2-dev libutf8proc-dev nlohmann-json3-dev libxxhash-dev libcli11-dev libedit-dev libopenblas-dev libvulkan-dev glslang-dev glslang-tools"
packages_test="libgtest-dev googletest libbenchmark-dev clang libclang-rt-14-dev g++-aarch64-linux-gnu qemu-user mesa-vulkan-drivers vulkan-validationlayers"

# need PACKAGE...: installs those that are missing, as root or through sudo. Everything it says goes to stderr.
need() {
    missing=""
    for package in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=""
        [ "$status" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "tern: this is no Debian system; install the equivalents of:$missing" >&2
        return 1
    fi
    echo "tern: installing (a minute or two):$missing" >&2
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "tern: run as root (there is no sudo): apt-get install$missing" >&2
            return 1
        fi
        as_root="sudo"
    fi
    # The lists of a fresh system are empty; those of an old one may name versions that are gone.
    quietly $as_root apt-get update -q
    # shellcheck disable=SC2086 # a list
    quietly $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        -o Dpkg::Use-Pty=0 $missing
}

# quietly COMMAND...: shows the command's output, on stderr, only if it fails.
quietly() {
    log=$(mktemp)
    if "$@" >"$log" 2>&1 </dev/null; then
        rm -f "$log"
    else
        status=$?
        cat "$log" >&2
        rm -f "$log"
        return $status
    fi
}
