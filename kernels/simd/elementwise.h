// Elementwise operations and rope over Vec.
#pragma once

#include "kernels/simd/elementary.h"

namespace tern::kernels {

// out[i] = f(i's lanes): `whole` reads 16 elements at an index, `part` the last few.
#define TERN_ELEMENTWISE(n, whole, part)                              \
    do {                                                              \
        size_t i = 0;                                                 \
        for (; i + 16 <= (n); i += 16) store(out + i, whole);         \
        if (const size_t rest = (n) - i) store_part(out + i, part, rest); \
    } while (false)

static void add_rows(const float* a, const float* b, float* out, size_t n) {
    TERN_ELEMENTWISE(n, add(load(a + i), load(b + i)), add(load_part(a + i, rest), load_part(b + i, rest)));
}

static void mul_rows(const float* a, const float* b, float* out, size_t n) {
    TERN_ELEMENTWISE(n, mul(load(a + i), load(b + i)), mul(load_part(a + i, rest), load_part(b + i, rest)));
}

static void scale_row(const float* a, float s, float* out, size_t n) {
    const Vec factor = set1(s);
    TERN_ELEMENTWISE(n, mul(load(a + i), factor), mul(load_part(a + i, rest), factor));
}

static void add_scaled_row(const float* a, float s, float* out, size_t n) {
    const Vec factor = set1(s);
    TERN_ELEMENTWISE(n, fma(load(a + i), factor, load(out + i)),
                     fma(load_part(a + i, rest), factor, load_part(out + i, rest)));
}

static void softcap_row(const float* a, float cap, float* out, size_t n) {
    const Vec c = set1(cap);
    TERN_ELEMENTWISE(n, mul(c, tanh(div(load(a + i), c))), mul(c, tanh(div(load_part(a + i, rest), c))));
}

// x * sigmoid(-minus).
TERN_INLINE Vec times_sigmoid(Vec x, Vec minus) { return div(x, add(set1(1.0f), exp(minus))); }

TERN_INLINE Vec silu(Vec x) { return times_sigmoid(x, negate(x)); }
TERN_INLINE Vec gelu(Vec x) {
    return times_sigmoid(x, mul(x, fma(mul(x, x), set1(-0x1.2444f2p-4f), set1(-0x1.988454p+0f))));
}
TERN_INLINE Vec gelu_erf(Vec x) {
    return mul(mul(x, set1(0.5f)), add(set1(1.0f), erf(mul(x, set1(0x1.6a09e6p-1f)))));
}
TERN_INLINE Vec relu_squared(Vec x) {
    const Vec positive = max(zero(), x);
    return mul(positive, positive);
}
TERN_INLINE Vec sigmoid(Vec x) { return times_sigmoid(set1(1.0f), negate(x)); }
TERN_INLINE Vec clamped_silu(Vec g, Vec u) {
    g = min(set1(7.0f), g);
    u = min(set1(7.0f), max(set1(-7.0f), u));
    return mul(times_sigmoid(g, mul(g, set1(-1.702f))), add(u, set1(1.0f)));
}

static void activate(Activation kind, const float* x, float* out, size_t n) {
#define TERN_ACTIVATE(f) TERN_ELEMENTWISE(n, f(load(x + i)), f(load_part(x + i, rest)))
    switch (kind) {
        case Activation::silu:
        case Activation::clamped_silu: TERN_ACTIVATE(silu); break;
        case Activation::gelu: TERN_ACTIVATE(gelu); break;
        case Activation::gelu_erf: TERN_ACTIVATE(gelu_erf); break;
        case Activation::relu_squared: TERN_ACTIVATE(relu_squared); break;
        case Activation::sigmoid: TERN_ACTIVATE(sigmoid); break;
    }
#undef TERN_ACTIVATE
}

static void gated(Activation kind, const float* gate, const float* up, float* out, size_t n) {
#define TERN_GATED(f)                                  \
    TERN_ELEMENTWISE(n, mul(f(load(gate + i)), load(up + i)), \
                     mul(f(load_part(gate + i, rest)), load_part(up + i, rest)))
    switch (kind) {
        case Activation::silu: TERN_GATED(silu); break;
        case Activation::gelu: TERN_GATED(gelu); break;
        case Activation::gelu_erf: TERN_GATED(gelu_erf); break;
        case Activation::relu_squared: TERN_GATED(relu_squared); break;
        case Activation::sigmoid: TERN_GATED(sigmoid); break;
        case Activation::clamped_silu:
            TERN_ELEMENTWISE(n, clamped_silu(load(gate + i), load(up + i)),
                             clamped_silu(load_part(gate + i, rest), load_part(up + i, rest)));
            break;
    }
#undef TERN_GATED
}

#undef TERN_ELEMENTWISE

TERN_INLINE void rotate(Vec x0, Vec x1, Vec c, Vec s, Vec* y0, Vec* y1) {
    *y0 = fma(x0, c, negate(mul(x1, s)));
    *y1 = fma(x0, s, mul(x1, c));
}

TERN_INLINE void rope_halves(float* x, size_t half, const float* cos, const float* sin) {
    size_t i = 0;
    Vec y0, y1;
    for (; i + 16 <= half; i += 16) {
        rotate(load(x + i), load(x + half + i), load(cos + i), load(sin + i), &y0, &y1);
        store(x + i, y0);
        store(x + half + i, y1);
    }
    if (const size_t rest = half - i) {
        rotate(load_part(x + i, rest), load_part(x + half + i, rest), load_part(cos + i, rest),
               load_part(sin + i, rest), &y0, &y1);
        store_part(x + i, y0, rest);
        store_part(x + half + i, y1, rest);
    }
}

TERN_INLINE void rope_adjacent(float* x, size_t half, const float* cos, const float* sin) {
    const float none[8] = {};
    const float ones[8] = {-0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f};
    const Vec sign_of_evens = interleave8(ones, none);
    size_t i = 0;
    for (; i + 8 <= half; i += 8) {
        const Vec v = load(x + 2 * i);
        // Lanes (2j, 2j+1): factors (c, s) for x0, and (s with its sign turned, c) for x1.
        const Vec second = mul(odds_twice(v), interleave8(sin + i, cos + i));
        store(x + 2 * i, fma(evens_twice(v), interleave8(cos + i, sin + i), flip_signs(second, sign_of_evens)));
    }
    for (; i < half; ++i) {
        const float x0 = x[2 * i];
        const float x1 = x[2 * i + 1];
        x[2 * i] = __builtin_fmaf(x0, cos[i], -(x1 * sin[i]));
        x[2 * i + 1] = __builtin_fmaf(x0, sin[i], x1 * cos[i]);
    }
}

static void rope(float* x, size_t heads, size_t head_dim, size_t n_rot, const float* cos, const float* sin,
                 RopeMode mode) {
    for (size_t h = 0; h < heads; ++h, x += head_dim)
        if (mode == RopeMode::adjacent)
            rope_adjacent(x, n_rot / 2, cos, sin);
        else
            rope_halves(x, n_rot / 2, cos, sin);
}

}  // namespace tern::kernels
