// What the tests of the formats share.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <string>
#include <vector>

#include "kernels/formats/format.h"

namespace tern::test {

struct Format {
    const char* name;
    DType dtype;
    std::size_t block;
    std::size_t bytes;
};
inline void PrintTo(const Format& f, std::ostream* out) {
    *out << f.name;
}

inline constexpr Format kFormats[] = {
#define TERN_FORMAT(name, id, block, bytes) {#name, DType::name, block, bytes},
#include <tern/formats.def>
#undef TERN_FORMAT
};

// splitmix64 (Steele, Lea, Flood 2014): the same stream everywhere.
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
    float gaussian() {  // Box-Muller
        const double u = 1.0 - uniform();
        return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * uniform()));
    }

private:
    std::uint64_t state_;
};

inline std::vector<unsigned char> random_bytes(std::uint64_t seed, std::size_t n) {
    Random random(seed);
    std::vector<unsigned char> bytes(n + 8);
    for (std::size_t i = 0; i < n; i += 8) {
        const std::uint64_t word = random.next();
        std::memcpy(bytes.data() + i, &word, sizeof word);
    }
    bytes.resize(n);
    return bytes;
}

inline std::uint32_t bits(float f) {
    return std::bit_cast<std::uint32_t>(f);
}

// Bit for bit, but any NaN is any NaN.
inline bool same(float a, float b) {
    return bits(a) == bits(b) || (std::isnan(a) && std::isnan(b));
}

}  // namespace tern::test
