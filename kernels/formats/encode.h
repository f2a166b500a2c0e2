// What the encoders share. Only for the files of this folder: they are all compiled with the same flags.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tern::kernels {

// Up to 256 elements, ready for a search: scaled by a power of two so that the largest magnitude lies in
// [1/2, 1), which keeps squares far from overflow and underflow whatever the input; values that are not
// finite are zero.
struct Sample {
    alignas(64) float x[256];
    alignas(64) float w[256];  // weights of squared errors, at most 1, never zero (so that every sum has a
                               // minimum)
    float amax;                // of the input; 0: nothing but zeros
    float extreme;             // the first x of the largest magnitude, with its sign
    int exponent;              // input = x * 2^exponent
};
// importance: n weights, or null for equal ones.
void take_sample(const float* x, const float* importance, std::size_t n, Sample& sample);

// No f16 scale can give anything but zero to a magnitude below this, half of the smallest f16.
inline constexpr float kLeastMagnitude = 0x1p-25f;

// The f16 nearest to scale * 2^exponent, but never infinite, and zero only for zero. Returns what was stored
// in the sample's units.
float store_scale(float scale, int exponent, std::uint16_t& stored);

float finite_or_zero(float x) noexcept;

// Nearest integer, ties to even, for |x| < 2^22; as float, which vectorises on every machine.
inline float nearest(float x) {
    constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: the sum's last place is worth one
    return (x + kMagic) - kMagic;
}

inline float clamp(float x, float lo, float hi) {
    x = x < lo ? lo : x;
    return x > hi ? hi : x;
}

// The sum of an array of a power of two elements, by halving it; destroys it. Such a tree needs no reordering
// by the compiler to use vectors, and gives the same bits everywhere.
template <int N>
inline float tree_sum(float (&a)[N]) {
    for (int half = N / 2; half >= 4; half /= 2)
        for (int j = 0; j < half; ++j) a[j] += a[j + half];
    return (a[0] + a[2]) + (a[1] + a[3]);
}

}  // namespace tern::kernels
