// rms_norm, layer_norm and softmax over Vec.
#pragma once

#include "kernels/simd/elementary.h"

namespace tern::kernels {

static void rms_norm(const float* x, const float* w, float* y, size_t n, float eps) {
    const size_t whole = n & ~size_t{15};
    const size_t rest = n - whole;
    Vec sum = zero();
    for (size_t i = 0; i < whole; i += 16) sum = fma(load(x + i), load(x + i), sum);
    if (rest) {
        const Vec v = load_part(x + whole, rest);
        sum = fma_where(mask_first(rest), v, v, sum);
    }
    const float mean = tree(sum) / static_cast<float>(n);
    const Vec inverse = set1(1.0f / square_root(mean + eps));
    for (size_t i = 0; i < whole; i += 16) {
        const Vec v = mul(load(x + i), inverse);
        store(y + i, w ? mul(v, load(w + i)) : v);
    }
    if (rest) {
        const Vec v = mul(load_part(x + whole, rest), inverse);
        store_part(y + whole, w ? mul(v, load_part(w + whole, rest)) : v, rest);
    }
}

static void layer_norm(const float* x, const float* w, const float* b, float* y, size_t n, float eps) {
    const size_t whole = n & ~size_t{15};
    const size_t rest = n - whole;
    const Mask tail = mask_first(rest);
    Vec sum = zero();
    for (size_t i = 0; i < whole; i += 16) sum = add(sum, load(x + i));
    if (rest) sum = select(tail, add(sum, load_part(x + whole, rest)), sum);
    const Vec mean = set1(tree(sum) / static_cast<float>(n));
    Vec squares = zero();
    for (size_t i = 0; i < whole; i += 16) {
        const Vec v = sub(load(x + i), mean);
        squares = fma(v, v, squares);
    }
    if (rest) {
        const Vec v = sub(load_part(x + whole, rest), mean);
        squares = fma_where(tail, v, v, squares);
    }
    const float variance = tree(squares) / static_cast<float>(n);
    const Vec inverse = set1(1.0f / square_root(variance + eps));
    for (size_t i = 0; i < whole; i += 16) {
        const Vec v = mul(sub(load(x + i), mean), inverse);
        const Vec weight = w ? load(w + i) : set1(1.0f);
        store(y + i, b ? fma(v, weight, load(b + i)) : mul(v, weight));
    }
    if (rest) {
        const Vec v = mul(sub(load_part(x + whole, rest), mean), inverse);
        const Vec weight = w ? load_part(w + whole, rest) : set1(1.0f);
        store_part(y + whole, b ? fma(v, weight, load_part(b + whole, rest)) : mul(v, weight), rest);
    }
}

static void softmax(const float* x, float* p, size_t n) {
    const size_t whole = n & ~size_t{15};
    const size_t rest = n - whole;
    const Mask tail = mask_first(rest);
    const Vec lowest = set1(-__builtin_inff());
    Vec top = lowest;
    for (size_t i = 0; i < whole; i += 16) top = max(top, load(x + i));
    if (rest) top = max(top, select(tail, load_part(x + whole, rest), lowest));
    const Vec m = set1(largest(top) + 0.0f);
    Vec sum = zero();
    for (size_t i = 0; i < whole; i += 16) {
        const Vec e = exp(sub(load(x + i), m));
        sum = add(sum, e);
        store(p + i, e);
    }
    if (rest) {
        const Vec e = exp(sub(load_part(x + whole, rest), m));
        sum = select(tail, add(sum, e), sum);
        store_part(p + whole, e, rest);
    }
    const Vec total = set1(tree(sum));
    for (size_t i = 0; i < whole; i += 16) store(p + i, div(load(p + i), total));
    if (rest) store_part(p + whole, div(load_part(p + whole, rest), total), rest);
}

}  // namespace tern::kernels
