// The functions of docs/numerics.md ("Elementary functions") and IEEE 754's division and square root, which those of GLSL
// are not: bits as on the CPU where fma is fused and nothing is contracted (cmake/shader_compiler.cpp).

// To nearest, from a quotient that is off by a few units: the remainder is exact.
float quotient(float a, float b) {
    float q = a / b;
    bool plain = q != 0.0 && abs(q) < 3.0e38 && abs(b) > 1.2e-38 && abs(b) < 3.0e38;
    return plain ? fma(fma(-q, b, a), 1.0 / b, q) : q;
}

float root(float x) {
    float r = sqrt(x);
    return r > 0.0 && r < 3.0e38 ? fma(fma(-r, r, x), 0.5 / r, r) : r;
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
    return p * uintBitsToFloat(uint(low + 127) << 23) * uintBitsToFloat(uint(k - low + 127) << 23);
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
