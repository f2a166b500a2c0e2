// The functions of docs/numerics.md ("Elementary functions") and IEEE 754's division and square root, which those of GLSL
// are not: bits as on the CPU where fma is fused and nothing is contracted (cmake/shader_compiler.cpp), which a test at
// start-up finds out (src/backend/vulkan/arithmetic.h). Results that are subnormal may be rounded twice, or flushed.
// Each shader that includes this file is compiled a second time, with FMA_BY_DOUBLES, for devices that split fma.
#ifndef EXACT
#define EXACT

#ifdef FMA_BY_DOUBLES
// The product is exact in a double. Rounding the sum twice differs from rounding it once only where the first rounding made
// a tie of what was none: then a unit of the double towards the sum says which way.
float fused(float a, float b, float c) {
    double p = double(a) * double(b), q = double(c), s = p + q;
    double z = s - p, off = (p - (s - z)) + (q - z);
    uvec2 w = unpackDouble2x32(s);
    if ((w.x & 0x1fffffffu) == 0x10000000u && off != 0.0lf) w.x += (off > 0.0lf) == (s > 0.0lf) ? 1u : ~0u;
    return float(packDouble2x32(w));
}
vec2 fused(vec2 a, vec2 b, vec2 c) { return vec2(fused(a.x, b.x, c.x), fused(a.y, b.y, c.y)); }
vec4 fused(vec4 a, vec4 b, vec4 c) { return vec4(fused(a.xy, b.xy, c.xy), fused(a.zw, b.zw, c.zw)); }
#define fma fused
#endif

// Whether `/` and sqrt() of this device are those of IEEE 754 (Device::pipeline).
layout(constant_id = 100) const bool DIVIDES = false;
layout(constant_id = 101) const bool ROOTS = false;

float power_of_two(int e) { return uintBitsToFloat(uint(e + 127) << 23); }  // -126 … 127
bool finite(float x) { return (floatBitsToUint(x) & 0x7fffffffu) < 0x7f800000u; }

// To nearest, if 1 / b is off by a few units: P. Markstein, "Computation of elementary functions on the IBM RISC
// System/6000 processor", IBM J. Res. Dev. 34 (1990), theorem 8: with a reciprocal to nearest, the remainder, which is exact,
// gives a quotient to nearest. Newton's steps give such a reciprocal but of 2 - 2^-23. Of significands alone, so that
// nothing on the way is too large or too small.
float quotient(float a, float b) {
    if (DIVIDES) return a / b;
    uint x = floatBitsToUint(a), y = floatBitsToUint(b);
    int ea = int(x >> 23 & 255u), eb = int(y >> 23 & 255u);
    if (ea == 0 || ea == 255 || eb == 0 || eb == 255) return a / b;  // 0, infinity, NaN, subnormal
    float m = uintBitsToFloat((x & 0x7fffffu) | 0x3f800000u), n = uintBitsToFloat((y & 0x7fffffu) | 0x3f800000u);
    float r = 1.0 / n;
    r = fma(fma(-n, r, 1.0), r, r);
    r = fma(fma(-n, r, 1.0), r, r);
    if ((y & 0x7fffffu) == 0x7fffffu) r = uintBitsToFloat(0x3f000001u);
    float q = m * r;
    q = fma(fma(-n, q, m), r, q);
    q = fma(fma(-n, q, m), r, q);
    int e = ea - eb, low = e >> 1;
    q = q * power_of_two(low) * power_of_two(e - low);
    return ((x ^ y) & 0x80000000u) == 0u ? q : -q;
}

// The same for roots. r is to nearest where r · (r - unit) < x <= r · (r + unit) (the test of B. Tuckerman), of which fma
// tells the sign.
float root(float x) {
    if (ROOTS) return sqrt(x);
    bool tiny = x < 5.421010862427522e-20;  // 2^-64: the remainder could be subnormal
    float y = tiny ? x * 1.8446744073709552e19 : x;
    float r = sqrt(y);
    if (r > 0.0 && finite(r)) {
        r = fma(fma(-r, r, y), 0.5 / r, r);
        float below = uintBitsToFloat(floatBitsToUint(r) - 1u), above = uintBitsToFloat(floatBitsToUint(r) + 1u);
        if (fma(below, r, -y) >= 0.0)
            r = below;
        else if (fma(above, r, -y) < 0.0)
            r = above;
    }
    return tiny ? r * 2.3283064365386963e-10 : r;
}

float exp_(float x) {
    if (x < -104.0) return 0.0;
    if (x > uintBitsToFloat(0x42b17218u)) return uintBitsToFloat(0x7f800000u);
    float n = roundEven(x * uintBitsToFloat(0x3fb8aa3bu));
    float r = fma(-n, uintBitsToFloat(0x3f317200u), x);
    r = fma(-n, uintBitsToFloat(0x35bfbe8eu), r);
    float p = uintBitsToFloat(0x3ab5121au);
    p = fma(p, r, uintBitsToFloat(0x3c091cf1u));
    p = fma(p, r, uintBitsToFloat(0x3d2aac79u));
    p = fma(p, r, uintBitsToFloat(0x3e2aaa49u));
    p = fma(p, r, uintBitsToFloat(0x3efffffeu));
    p = fma(p, r, 1.0);
    p = fma(p, r, 1.0);
    int k = int(n), low = k >> 1;
    return p * power_of_two(low) * power_of_two(k - low);
}

float tanh_(float x) {
    float a = abs(x);
    if (a < 0.625) {
        float z = x * x;
        float p = uintBitsToFloat(0xbbbaf0e6u);
        p = fma(p, z, uintBitsToFloat(0x3ca9134eu));
        p = fma(p, z, uintBitsToFloat(0xbd5c1e2du));
        p = fma(p, z, uintBitsToFloat(0x3e088393u));
        p = fma(p, z, uintBitsToFloat(0xbeaaaa99u));
        return fma(x * z, p, x);
    }
    float y = 1.0 - quotient(2.0, exp_(a + a) + 1.0);
    return x < 0.0 ? -y : y;
}

float erf_(float x) {
    if (isnan(x)) return x;
    float a = abs(x);
    if (a < 1.0) {
        float z = x * x;
        float p = uintBitsToFloat(0x38a52b48u);
        p = fma(p, z, uintBitsToFloat(0xba522844u));
        p = fma(p, z, uintBitsToFloat(0x3baa0938u));
        p = fma(p, z, uintBitsToFloat(0xbcdbfd5du));
        p = fma(p, z, uintBitsToFloat(0x3de71688u));
        p = fma(p, z, uintBitsToFloat(0xbec0939fu));
        p = fma(p, z, uintBitsToFloat(0x3e0375d4u));
        return fma(x, p, x);
    }
    float b = min(a, 4.0);
    float t = uintBitsToFloat(0xb5dbbc18u);
    t = fma(t, b, uintBitsToFloat(0x38412e72u));
    t = fma(t, b, uintBitsToFloat(0xba1c72f3u));
    t = fma(t, b, uintBitsToFloat(0x3b9bf663u));
    t = fma(t, b, uintBitsToFloat(0xbcd87123u));
    t = fma(t, b, uintBitsToFloat(0x3de171abu));
    t = fma(t, b, uintBitsToFloat(0x3f21bf5au));
    t = fma(t, b, uintBitsToFloat(0x3f90ab7du));
    t = fma(t, b, uintBitsToFloat(0xb9a7d834u));
    float y = 1.0 - exp_(-t);
    return x < 0.0 ? -y : y;
}

// The tree over 16 striped partial sums.
float tree(float s[16]) {
    [[unroll]] for (uint width = 8; width > 0; width /= 2)
        [[unroll]] for (uint i = 0; i < width; ++i) s[i] += s[i + width];
    return s[0];
}

// To nearest even, which packHalf2x16 need not be; 65520 and above give infinity.
uint f16_bits(float x) {
    uint bits = floatBitsToUint(x), sign_ = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return sign_ | 0x7e00u;
    if (magnitude >= 0x477ff000u) return sign_ | 0x7c00u;
    if (magnitude >= 0x38800000u)  // 2^-14
        return sign_ | (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    if (magnitude <= 0x33000000u) return sign_;  // 2^-25
    // Subnormal: units of 2^-24.
    uint shift = 126u - (magnitude >> 23), significand = (magnitude & 0x7fffffu) | 0x800000u;
    return sign_ | (significand + (1u << (shift - 1u)) - 1u + (significand >> shift & 1u)) >> shift;
}
#endif
