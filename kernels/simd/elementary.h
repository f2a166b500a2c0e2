// exp, tanh and erf of docs/numerics.md over Vec.
#pragma once

namespace tern::kernels {

TERN_INLINE Vec negate(Vec a) { return flip_signs(a, set1(-0.0f)); }

TERN_INLINE Vec exp(Vec x) {
    // Outside the limits the formula itself gives 0 and infinity; NaN passes through both.
    x = min(set1(89.0f), max(set1(-104.0f), x));
    const Vec n = round_even(mul(x, set1(0x1.715476p+0f)));
    Vec r = fnma(n, set1(0x1.62e4p-1f), x);
    r = fnma(n, set1(0x1.7f7d1cp-20f), r);
    Vec p = set1(0x1.6a2434p-10f);
    p = fma(p, r, set1(0x1.1239e2p-7f));
    p = fma(p, r, set1(0x1.5558f2p-5f));
    p = fma(p, r, set1(0x1.555492p-3f));
    p = fma(p, r, set1(0x1.fffffcp-2f));
    p = fma(p, r, set1(1.0f));
    p = fma(p, r, set1(1.0f));
    return scale_by_power(p, n);
}
TERN_INLINE float exp1(float x) { return first_lane(exp(set1(x))); }

TERN_INLINE Vec tanh(Vec x) {
    const Vec a = magnitude(x);
    const Vec z = mul(x, x);
    Vec p = set1(-0x1.75e1ccp-8f);
    p = fma(p, z, set1(0x1.52269cp-6f));
    p = fma(p, z, set1(-0x1.b83c5ap-5f));
    p = fma(p, z, set1(0x1.110726p-3f));
    p = fma(p, z, set1(-0x1.555532p-2f));
    const Vec small = fma(mul(x, z), p, x);
    const Vec large = sub(set1(1.0f), div(set1(2.0f), add(exp(add(a, a)), set1(1.0f))));
    return select(mask_less(a, set1(0.625f)), small, with_sign_of(large, x));
}

TERN_INLINE Vec erf(Vec x) {
    const Vec a = magnitude(x);
    const Vec z = mul(x, x);
    Vec p = set1(0x1.4a5690p-14f);
    p = fma(p, z, set1(-0x1.a45088p-11f));
    p = fma(p, z, set1(0x1.541270p-8f));
    p = fma(p, z, set1(-0x1.b7fabap-6f));
    p = fma(p, z, set1(0x1.ce2d10p-4f));
    p = fma(p, z, set1(-0x1.81273ep-2f));
    p = fma(p, z, set1(0x1.06eba8p-3f));
    const Vec b = min(set1(4.0f), a);
    Vec t = set1(-0x1.b77830p-20f);
    t = fma(t, b, set1(0x1.825ce4p-15f));
    t = fma(t, b, set1(-0x1.38e5e6p-11f));
    t = fma(t, b, set1(0x1.37ecc6p-8f));
    t = fma(t, b, set1(-0x1.b0e246p-6f));
    t = fma(t, b, set1(0x1.c2e356p-4f));
    t = fma(t, b, set1(0x1.437eb4p-1f));
    t = fma(t, b, set1(0x1.2156fap+0f));
    t = fma(t, b, set1(-0x1.4fb068p-12f));
    const Vec large = sub(set1(1.0f), exp(negate(t)));
    return select(mask_less(a, set1(1.0f)), fma(x, p, x), with_sign_of(large, x));
}

// The larger one, never -0.
TERN_INLINE float max_plus_zero(float a, float b) { return (a > b ? a : b) + 0.0f; }

}  // namespace tern::kernels
