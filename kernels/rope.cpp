// The angles of rotary position embeddings. Plain double additions, multiplications and divisions only, so that every
// compiler and processor gives the same bits (docs/numerics.md, "Rotary tables").
#include "kernels/rope.h"

#include "kernels/kernel.h"

#include <cstring>

namespace tern::kernels {
namespace {

// Nearest integer, ties to even; |x| < 2^51.
double round_even(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

double power_of_two(int e) {  // -1022 <= e <= 1023
    const std::uint64_t bits = static_cast<std::uint64_t>(e + 1023) << 52;
    double x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

// Taylor series; |r| <= pi/4 leaves an error below 2^-57 of the result.
double sin_small(double r) {
    const double z = r * r;
    double p = 1.0 / 355687428096000.0;  // 1/17!
    p = p * z - 1.0 / 1307674368000.0;
    p = p * z + 1.0 / 6227020800.0;
    p = p * z - 1.0 / 39916800.0;
    p = p * z + 1.0 / 362880.0;
    p = p * z - 1.0 / 5040.0;
    p = p * z + 1.0 / 120.0;
    p = p * z - 1.0 / 6.0;
    return r + r * z * p;
}
double cos_small(double r) {
    const double z = r * r;
    double p = 1.0 / 20922789888000.0;  // 1/16!
    p = p * z - 1.0 / 87178291200.0;
    p = p * z + 1.0 / 479001600.0;
    p = p * z - 1.0 / 3628800.0;
    p = p * z + 1.0 / 40320.0;
    p = p * z - 1.0 / 720.0;
    p = p * z + 1.0 / 24.0;
    p = p * z - 0.5;
    return 1.0 + z * p;
}

// |x| < 2^25: the quadrant k has at most 25 bits and each high part of pi/2 28, so k * part is exact (Cody and Waite).
void sin_cos(double x, double& sin, double& cos) {
    const double k = round_even(x * 0x1.45f306dc9c883p-1);
    double r = x - k * 0x1.921fb54p+0;
    r -= k * 0x1.10b4610p-30;
    r -= k * 0x1.a626330p-58;
    r -= k * 0x1.45c06e0e68948p-86;
    const double s = sin_small(r);
    const double c = cos_small(r);
    switch (static_cast<std::int64_t>(k) & 3) {
        case 0: sin = s, cos = c; break;
        case 1: sin = c, cos = -s; break;
        case 2: sin = -s, cos = -c; break;
        default: sin = -c, cos = s; break;
    }
}

// x finite and > 0, normal. ln(x) = e ln 2 + 2 atanh(s), s = (m - 1) / (m + 1), m in [sqrt(1/2), sqrt(2)).
double log_positive(double x) {
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    int e = static_cast<int>(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | std::uint64_t{1023} << 52;
    double m;
    std::memcpy(&m, &bits, sizeof m);
    if (m >= 0x1.6a09e667f3bcdp+0) {
        m *= 0.5;
        ++e;
    }
    const double s = (m - 1.0) / (m + 1.0);
    const double z = s * s;
    double p = 0.0;
    for (int n = 25; n >= 3; n -= 2) p = (p + 1.0 / n) * z;
    const double n = static_cast<double>(e);
    return n * 0x1.62e42fee00000p-1 + (n * 0x1.a39ef35793c76p-33 + (2.0 * s + 2.0 * s * p));
}

// -700 < x < 700.
double exp_moderate(double x) {
    const double n = round_even(x * 0x1.71547652b82fep+0);
    const double r = (x - n * 0x1.62e42fee00000p-1) - n * 0x1.a39ef35793c76p-33;
    double p = 1.0;
    for (int i = 14; i >= 1; --i) p = 1.0 + p * r / i;
    return p * power_of_two(static_cast<int>(n));
}

}  // namespace

double natural_log(double x) { return log_positive(x); }
double natural_exp(double x) { return exp_moderate(x); }

void rope_table(const double* inv_freq, std::size_t n_half, double position, float factor, float* cos, float* sin) {
    for (std::size_t i = 0; i < n_half; ++i) {
        double s, c;
        sin_cos(position * inv_freq[i], s, c);
        cos[i] = static_cast<float>(c * static_cast<double>(factor));
        sin[i] = static_cast<float>(s * static_cast<double>(factor));
    }
}

void rope_inv_freq(double base, std::size_t n, double* inv_freq) {
    const double ln_base = log_positive(base);
    for (std::size_t i = 0; i < n / 2; ++i)
        inv_freq[i] = exp_moderate(-(static_cast<double>(2 * i) / static_cast<double>(n)) * ln_base);
}

}  // namespace tern::kernels
