#!/bin/sh
# Everything that must hold before a change goes in: scripts/test.sh. Installs what is needed (Debian), then
#   1. builds all with GCC, warnings as errors          build/
#   2. tests under AddressSanitizer and UBSan (Clang)   build-asan/
#   3. fuzzes for one to two minutes                    build-asan/
#   4. tests with threads under ThreadSanitizer         build-tsan/
#   5. tests of the NEON kernels, emulated              build-neon/
#   6. runs the whole suite of the first build
# and stops at the first failure. scripts/test.sh --quick: 1 and 6 only. TERN_FUZZ_SECONDS: the
# length of 3 for the file reader, which takes input from strangers first; each other fuzzer gets a third of it.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh

quick=no
case "${1:-}" in
"") ;;
--quick) quick=yes ;;
*) echo "usage: scripts/test.sh [--quick]" >&2; exit 2 ;;
esac
jobs=$(nproc)
# shellcheck disable=SC2086 # lists
need $packages_build $packages_test

# Clang 14's sanitizers find no room for their shadow memory where the kernel randomises more than 28 bits.
steady=""
if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ] && setarch -R true 2>/dev/null; then
    steady="setarch -R"
fi
export UBSAN_OPTIONS="print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
export TSAN_OPTIONS="halt_on_error=1${TSAN_OPTIONS:+:$TSAN_OPTIONS}"

begin=$(date +%s)
step() {
    echo
    echo "== $1 ($(($(date +%s) - begin)) s)"
}

step "release build"
quietly cmake --preset release -DTERN_WERROR=ON -DTERN_BUILD_TESTS=ON -DTERN_BUILD_BENCH=ON
cmake --build build -- --quiet

if [ $quick = no ]; then
    step "AddressSanitizer and UBSan: build"
    quietly cmake --preset asan -DCMAKE_CXX_COMPILER=clang++ -DTERN_WERROR=ON -DTERN_BUILD_FUZZERS=ON
    $steady cmake --build build-asan -- --quiet
    step "AddressSanitizer and UBSan: tests"
    $steady ctest --test-dir build-asan -j "$jobs" --output-on-failure --progress

    step "fuzzing"
    corpus=build-asan/corpus
    for target in build-asan/bin/fuzz_*; do
        name=${target##*/fuzz_}
        mkdir -p "$corpus/$name"
        # New inputs go to the first folder; the seeds are only read.
        set -- "$corpus/$name"
        if [ -d "tests/fuzz/corpus/$name" ]; then set -- "$@" "tests/fuzz/corpus/$name"; fi
        seconds=${TERN_FUZZ_SECONDS:-60}
        if [ "$name" != gguf ]; then seconds=$(((seconds + 2) / 3)); fi
        $steady "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
            -print_final_stats=1 -artifact_prefix=build-asan/ "$@"
    done

    step "ThreadSanitizer: build"
    # It cannot see into OpenBLAS and Vulkan drivers; so this is the build that shows how Tern is without.
    quietly cmake --preset tsan -DCMAKE_CXX_COMPILER=clang++ -DTERN_WERROR=ON -DTERN_BLAS=OFF -DTERN_VULKAN=OFF
    $steady cmake --build build-tsan --target tern_thread_tests -- --quiet
    step "ThreadSanitizer: tests"
    # Without the tests of files that are refused, which one thread reads.
    $steady ctest --test-dir build-tsan -L threads -E '^models\.(.*Keys|HostileModel|RandomModels)' -j "$jobs" \
        --output-on-failure --progress

    step "NEON: build"
    quietly cmake --preset neon -DTERN_WERROR=ON
    cmake --build build-neon -- --quiet
    step "NEON: tests of the kernels, emulated"
    ctest --test-dir build-neon -j "$jobs" --output-on-failure --progress
fi

step "release: tests"
ctest --test-dir build -j "$jobs" --output-on-failure --progress
