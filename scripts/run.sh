#!/bin/sh
# Completes a prompt: scripts/run.sh "Once upon a time". Installs what the build needs (Debian), builds the tern
# command where it is not up to date, and runs `tern run` with the arguments given; without -m it uses the built-in
# model. Only the model's text goes to stdout.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/packages.sh"

if [ ! -f "$root/build/build.ninja" ]; then
    # shellcheck disable=SC2086 # a list
    need $packages_build
    echo "tern: building in $root/build (some minutes, once)" >&2
    (cd "$root" && quietly cmake --preset release -DTERN_BUILD_TESTS=OFF -DTERN_BUILD_BENCH=OFF)
fi
if [ -t 2 ]; then
    cmake --build "$root/build" --target bin/tern >&2 </dev/null
else
    quietly cmake --build "$root/build" --target bin/tern
fi
exec "$root/build/bin/tern" run "$@"
