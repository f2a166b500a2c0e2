#include "ceilings.h"

#include <sys/mman.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace tern::bench {
namespace {

using Clock = std::chrono::steady_clock;

// Runs work(thread) on all threads at once; seconds from the common start to the last one's end.
template <class Work>
double timed(unsigned threads, Work work) {
    std::vector<Clock::time_point> ends(threads);
    Clock::time_point start;
    std::barrier ready(static_cast<std::ptrdiff_t>(threads), [&]() noexcept { start = Clock::now(); });
    const auto body = [&](unsigned i) {
        ready.arrive_and_wait();
        work(i);
        ends[i] = Clock::now();
    };
    std::vector<std::thread> pool;
    for (unsigned i = 1; i < threads; ++i) pool.emplace_back(body, i);
    body(0);
    for (std::thread& t : pool) t.join();
    return std::chrono::duration<double>(*std::max_element(ends.begin(), ends.end()) - start).count();
}

// A buffer of huge pages where the system has them.
class Buffer {
public:
    explicit Buffer(std::size_t bytes) : bytes_(bytes) {
        data_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (data_ == MAP_FAILED) throw std::bad_alloc();
        madvise(data_, bytes, MADV_HUGEPAGE);
    }
    ~Buffer() { munmap(data_, bytes_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    std::byte* data() { return static_cast<std::byte*>(data_); }

private:
    void* data_;
    std::size_t bytes_;
};

// Reads `bytes` bytes, a multiple of 256. The empty asm makes the sum count as used.
using Reader = void (*)(const std::byte* p, std::size_t bytes);

void read_plain(const std::byte* p, std::size_t bytes) {
    std::uint64_t sum[8] = {};
    for (std::size_t i = 0; i < bytes; i += 64) {
        std::uint64_t x[8];
        std::memcpy(x, p + i, sizeof x);
        for (int j = 0; j < 8; ++j) sum[j] ^= x[j];
    }
    asm volatile("" : : "r"(sum) : "memory");
}

constexpr std::uint64_t kRounds = 2'000'000;  // some 10 ms a call

#if defined(__x86_64__)
#define TERN_AVX2 __attribute__((target("avx2,fma")))
#define TERN_AVX512 __attribute__((target("avx512f")))
#define TERN_VNNI __attribute__((target("avx512f,avx512vnni")))
#define TERN_AVX_VNNI __attribute__((target("avx2,avxvnni")))

// The compilers' own query does not know it everywhere: Intel SDM volume 2A, CPUID leaf 7.1 EAX bit 4.
bool has_avx_vnni() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1) != 0;
}

TERN_AVX2 void read_avx2(const std::byte* p, std::size_t bytes) {
    __m256i sum[8];
#pragma GCC unroll 12
    for (auto& s : sum) s = _mm256_setzero_si256();
    for (std::size_t i = 0; i < bytes; i += 256)
#pragma GCC unroll 8
        for (std::size_t j = 0; j < 8; ++j)
            sum[j] = _mm256_xor_si256(sum[j],
                                      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i + j * 32)));
#pragma GCC unroll 12
    for (auto& s : sum) asm volatile("" : : "x"(s));
}

// The hardware's prefetchers stop at pages; asking ahead is faster on some machines and slower on others.
template <std::size_t kAhead>
TERN_AVX512 void read_avx512(const std::byte* p, std::size_t bytes) {
    __m512i sum[4];
#pragma GCC unroll 12
    for (auto& s : sum) s = _mm512_setzero_si512();
    for (std::size_t i = 0; i < bytes; i += 256)
#pragma GCC unroll 4
        for (std::size_t j = 0; j < 4; ++j) {
            if constexpr (kAhead > 0) _mm_prefetch(reinterpret_cast<const char*>(p + i + j * 64 + kAhead), _MM_HINT_T0);
            sum[j] = _mm512_xor_si512(sum[j], _mm512_loadu_si512(p + i + j * 64));
        }
#pragma GCC unroll 12
    for (auto& s : sum) asm volatile("" : : "v"(s));
}

// Enough independent chains to fill two pipes of a latency of 5 cycles. The asm statements keep the compiler from
// computing anything itself, and from seeing that the chains are equal.
constexpr int kChains = 12;

TERN_VNNI void int8_vnni() {
    __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5), sum[kChains];
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 12
    for (auto& s : sum) {
        s = _mm512_setzero_si512();
        asm volatile("" : "+v"(s));
    }
    for (std::uint64_t i = 0; i < kRounds; ++i)
#pragma GCC unroll 12
        for (int j = 0; j < kChains; ++j) sum[j] = _mm512_dpbusd_epi32(sum[j], a, b);
#pragma GCC unroll 12
    for (auto& s : sum) asm volatile("" : : "v"(s));
}

TERN_AVX_VNNI void int8_avx_vnni() {
    __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5), sum[kChains];
    asm volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 12
    for (auto& s : sum) {
        s = _mm256_setzero_si256();
        asm volatile("" : "+x"(s));
    }
    for (std::uint64_t i = 0; i < kRounds; ++i)
#pragma GCC unroll 12
        for (int j = 0; j < kChains; ++j) sum[j] = _mm256_dpbusd_avx_epi32(sum[j], a, b);
#pragma GCC unroll 12
    for (auto& s : sum) asm volatile("" : : "x"(s));
}

// Without VNNI: multiply pairs to int16, pairs of these to int32, add.
TERN_AVX2 void int8_avx2() {
    __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5), one = _mm256_set1_epi16(1), sum[kChains];
#pragma GCC unroll 12
    for (auto& s : sum) {
        s = _mm256_setzero_si256();
        asm volatile("" : "+x"(s));
    }
    for (std::uint64_t i = 0; i < kRounds; ++i)
#pragma GCC unroll 12
        for (int j = 0; j < kChains; ++j) {
            asm volatile("" : "+x"(a));
            sum[j] = _mm256_add_epi32(sum[j], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), one));
        }
#pragma GCC unroll 12
    for (auto& s : sum) asm volatile("" : : "x"(s));
}

TERN_AVX512 void f32_avx512() {
    __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f), sum[kChains];
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 12
    for (auto& s : sum) {
        s = _mm512_setzero_ps();
        asm volatile("" : "+v"(s));
    }
    for (std::uint64_t i = 0; i < kRounds; ++i)
#pragma GCC unroll 12
        for (int j = 0; j < kChains; ++j) sum[j] = _mm512_fmadd_ps(sum[j], a, b);
#pragma GCC unroll 12
    for (auto& s : sum) asm volatile("" : : "v"(s));
}

TERN_AVX2 void f32_avx2() {
    __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f), sum[kChains];
    asm volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 12
    for (auto& s : sum) {
        s = _mm256_setzero_ps();
        asm volatile("" : "+x"(s));
    }
    for (std::uint64_t i = 0; i < kRounds; ++i)
#pragma GCC unroll 12
        for (int j = 0; j < kChains; ++j) sum[j] = _mm256_fmadd_ps(sum[j], a, b);
#pragma GCC unroll 12
    for (auto& s : sum) asm volatile("" : : "x"(s));
}
#endif

std::vector<Reader> readers() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return {read_avx512<0>, read_avx512<4096>};
    if (__builtin_cpu_supports("avx2")) return {read_avx2};
#endif
    return {read_plain};
}

[[maybe_unused]] std::optional<double> peak(unsigned threads, void (*work)(), double operations) {
    double best = 0;
    for (int i = 0; i < 8; ++i)
        best = std::max(best, threads * operations / timed(threads, [&](unsigned) { work(); }));
    return best / 1e9;
}

}  // namespace

double read_bandwidth(unsigned threads, std::size_t bytes) {
    const std::size_t part = bytes / threads / 256 * 256;
    // Room behind the last part for what the readers ask ahead.
    Buffer buffer(part * threads + 8192);
    const auto begin = [&](unsigned i) { return buffer.data() + i * part; };
    timed(threads, [&](unsigned i) { std::memset(begin(i), 1, part); });
    double best = 0;
    for (int pass = 0; pass < 4; ++pass)
        for (const Reader read : readers()) {
            const double seconds = timed(threads, [&](unsigned i) { read(begin(i), part); });
            best = std::max(best, static_cast<double>(part * threads) / seconds);
        }
    return best / 1e9;
}

std::optional<double> int8_peak(unsigned threads) {
#if defined(__x86_64__)
    constexpr auto count = static_cast<double>(kRounds * kChains);
    if (__builtin_cpu_supports("avx512vnni")) return peak(threads, int8_vnni, count * 128);
    if (has_avx_vnni()) return peak(threads, int8_avx_vnni, count * 64);
    if (__builtin_cpu_supports("avx2")) return peak(threads, int8_avx2, count * 64);
#endif
    static_cast<void>(threads);
    return std::nullopt;
}

std::optional<double> f32_peak(unsigned threads) {
#if defined(__x86_64__)
    constexpr auto count = static_cast<double>(kRounds * kChains);
    if (__builtin_cpu_supports("avx512f")) return peak(threads, f32_avx512, count * 32);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return peak(threads, f32_avx2, count * 16);
#endif
    static_cast<void>(threads);
    return std::nullopt;
}

}  // namespace tern::bench
