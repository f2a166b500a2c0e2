// The sampler's random numbers: part of what a seed means, so they must never change.
#pragma once

#include <bit>
#include <cstdint>

namespace tern::sampler {

// SplitMix64: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
class SplitMix64 {
public:
    explicit SplitMix64(std::uint64_t seed) noexcept : state_(seed) {}
    std::uint64_t next() noexcept {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }

private:
    std::uint64_t state_;
};

// xoshiro256**: D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47(4), 2021. The
// authors advise to fill its state from SplitMix64, which cannot give the all-zero state that it must not have.
class Xoshiro256 {
public:
    explicit Xoshiro256(std::uint64_t seed) noexcept {
        SplitMix64 fill(seed);
        for (std::uint64_t& s : state_) s = fill.next();
    }
    Xoshiro256(std::uint64_t a, std::uint64_t b, std::uint64_t c, std::uint64_t d) noexcept : state_{a, b, c, d} {}

    std::uint64_t next() noexcept {
        std::uint64_t(&s)[4] = state_;
        const std::uint64_t result = std::rotl(s[1] * 5, 7) * 9;
        const std::uint64_t t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = std::rotl(s[3], 45);
        return result;
    }

    // Evenly from the multiples of 2^-53 in [0, 1).
    double uniform() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }

private:
    std::uint64_t state_[4];
};

}  // namespace tern::sampler
