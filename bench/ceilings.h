// What this machine can do at most, measured: the read bandwidth of its memory and the rate of its multiply-add
// instructions. Every speed that the benchmarks print stands beside one of these from the same run.
#pragma once

#include <cstddef>
#include <optional>

namespace tern::bench {

// GB/s (1e9 bytes) of `threads` threads that each read one contiguous part of `bytes` bytes of memory; the best of
// several passes. Caches hold a part of small buffers: give the size that the measured program reads, and at least
// 512 MiB. Throws std::bad_alloc.
double read_bandwidth(unsigned threads, std::size_t bytes);

// 1e9 operations a second (a multiply-add counts 2) of `threads` threads on registers alone; the best of several
// rounds. Empty where this build knows no such instructions for the CPU.
std::optional<double> int8_peak(unsigned threads);  // int8 dot products: AVX-512 VNNI, else AVX-VNNI, else AVX2
std::optional<double> f32_peak(unsigned threads);   // f32 fused multiply-add: AVX-512, else AVX2

}  // namespace tern::bench
