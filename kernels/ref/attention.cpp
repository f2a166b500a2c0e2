#include <algorithm>

#include "kernels/ref/ref.h"
#include "kernels/ref/scalar.h"

namespace tern::kernels::ref {
namespace {

// What a page holds: element d of K, and of V, of the position i.
template <class Element>
class Plain {
public:
    Plain(const void* page, std::size_t k_dim, std::size_t v_dim)
        : keys_(static_cast<const Element*>(page)), values_(keys_ + k_dim * kPageTokens), v_dim_(v_dim) {}
    float k(std::size_t i, std::size_t d) const { return widen(keys_[d * kPageTokens + i]); }
    float v(std::size_t i, std::size_t d) const { return widen(values_[i * v_dim_ + d]); }

private:
    static float widen(Element x) {
        if constexpr (sizeof(Element) == 2)
            return f16_to_f32(x);
        else
            return x;
    }
    const Element* keys_;
    const Element* values_;
    std::size_t v_dim_;
};

std::size_t blocks(std::size_t dim) { return (dim + kKvBlock - 1) / kKvBlock; }

// The products of an 8-bit and an 11-bit number are exact.
class Quantised {
public:
    Quantised(const void* page, std::size_t k_dim, std::size_t v_dim) : v_dim_(v_dim) {
        const KvLayout at = kv_layout(KvType::q8_0, k_dim, v_dim);
        const auto* bytes = static_cast<const std::byte*>(page);
        keys_ = reinterpret_cast<const std::int8_t*>(bytes);
        values_ = reinterpret_cast<const std::int8_t*>(bytes + at.v);
        k_scales_ = reinterpret_cast<const std::uint16_t*>(bytes + at.k_scales);
        v_scales_ = reinterpret_cast<const std::uint16_t*>(bytes + at.v_scales);
    }
    float k(std::size_t i, std::size_t d) const {
        return f16_to_f32(k_scales_[d / kKvBlock * kPageTokens + i]) * keys_[d * kPageTokens + i];
    }
    float v(std::size_t i, std::size_t d) const {
        return f16_to_f32(v_scales_[i * blocks(v_dim_) + d / kKvBlock]) * values_[i * v_dim_ + d];
    }

private:
    const std::int8_t* keys_;
    const std::int8_t* values_;
    const std::uint16_t* k_scales_;
    const std::uint16_t* v_scales_;
    std::size_t v_dim_;
};

// Likewise of a 4-bit and an 11-bit number.
class Halves {
public:
    Halves(const void* page, std::size_t k_dim, std::size_t v_dim)
        : at_(kv_layout(KvType::q4_0, k_dim, v_dim)), bytes_(static_cast<const std::uint8_t*>(page)), v_dim_(v_dim) {
        k_scales_ = reinterpret_cast<const std::uint16_t*>(bytes_ + at_.k_scales);
        v_scales_ = reinterpret_cast<const std::uint16_t*>(bytes_ + at_.v_scales);
    }
    float k(std::size_t i, std::size_t d) const {
        const int q = bytes_[d / 2 * kPageTokens + i] >> (d % 2 ? 4 : 0) & 15;
        return f16_to_f32(k_scales_[d / kKvBlock * kPageTokens + i]) * static_cast<float>(q - 8);
    }
    float v(std::size_t i, std::size_t d) const {
        constexpr std::size_t kHalf = kKvBlock / 2;
        const int q = bytes_[at_.v + i * at_.v_row + d / kKvBlock * kHalf + d % kHalf] >> (d / kHalf % 2 ? 4 : 0) & 15;
        return f16_to_f32(v_scales_[i * blocks(v_dim_) + d / kKvBlock]) * static_cast<float>(q - 8);
    }

private:
    KvLayout at_;
    const std::uint8_t* bytes_;
    const std::uint16_t* k_scales_;
    const std::uint16_t* v_scales_;
    std::size_t v_dim_;
};

// One page for one query row; positions [first, last) of the page are visible, at least one.
template <class Page>
void attend_page(const AttentionArgs& a, const Page& page, std::size_t begin, std::size_t first, std::size_t last,
                 std::size_t r, float& m, float& l, float* o) {
    const float* q = a.q + r * a.q_stride;
    const float slope = a.slopes ? a.slopes[r] : 0.0f;
    const float position = a.slopes ? static_cast<float>(a.positions[r]) : 0.0f;
    float p[kPageTokens] = {};
    float page_max = -kInfinity;
    for (std::size_t d = 0; d < a.k_dim; ++d)
        for (std::size_t i = first; i < last; ++i) p[i] = std::fma(page.k(i, d), q[d], p[i]);
    for (std::size_t i = first; i < last; ++i) {
        if (a.softcap != 0.0f) p[i] = a.softcap * ref::tanh(p[i] / a.softcap);
        if (a.slopes) p[i] = std::fma(-slope, std::fabs(static_cast<float>(begin + i) - position), p[i]);
        page_max = max_plus_zero(page_max, p[i]);
    }
    const float m_new = max_plus_zero(m, page_max);
    const float correction = m == -kInfinity ? 0.0f : ref::exp(m - m_new);
    float stripes[kStripes] = {};
    for (std::size_t i = first; i < last; ++i) {
        p[i] = ref::exp(p[i] - m_new);
        stripes[i % kStripes] += p[i];
    }
    l = std::fma(l, correction, tree(stripes));
    m = m_new;
    for (std::size_t d = 0; d < a.v_dim; ++d) o[d] *= correction;
    for (std::size_t i = first; i < last; ++i)
        for (std::size_t d = 0; d < a.v_dim; ++d) o[d] = std::fma(p[i], page.v(i, d), o[d]);
}

template <class Page>
void attend(const AttentionArgs& a) {
    for (std::size_t r = 0; r < a.rows; ++r) {
        float* o = a.o + r * a.o_stride;
        a.m[r] = -kInfinity;
        a.l[r] = 0.0f;
        for (std::size_t d = 0; d < a.v_dim; ++d) o[d] = 0.0f;
        const std::size_t lo = a.lo[r] > a.chunk_begin ? a.lo[r] : a.chunk_begin;
        const std::size_t hi = a.hi[r] < a.chunk_end ? a.hi[r] : a.chunk_end;
        for (std::size_t begin = a.chunk_begin; begin < a.chunk_end; begin += kPageTokens) {
            const std::size_t first = lo > begin ? lo - begin : 0;
            const std::size_t last = hi < begin + kPageTokens ? (hi > begin ? hi - begin : 0) : kPageTokens;
            if (first >= last) continue;
            const Page page(a.pages[begin / kPageTokens], a.k_dim, a.v_dim);
            attend_page(a, page, begin, first, last, r, a.m[r], a.l[r], o);
        }
    }
}

// The largest of the bits without sign, which are ordered as the magnitudes, NaN above infinity.
std::uint32_t largest_bits(const float* x, std::size_t n) {
    std::uint32_t largest = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const std::uint32_t magnitude = bits_of(x[i]) & 0x7fffffff;
        if (magnitude > largest) largest = magnitude;
    }
    return largest;
}

// A block of n <= kKvBlock elements: q[i * q_stride] and the scale.
void store_q8(const float* x, std::size_t n, std::int8_t* q, std::size_t q_stride, std::uint16_t* scale) {
    const std::uint32_t largest = largest_bits(x, n);
    const float d = from_bits(largest) / 127.0f;
    *scale = largest >= 0x7f800000 ? std::uint16_t{0x7e00} : f32_to_f16(d < 65504.0f ? d : 65504.0f);
    const float stored = f16_to_f32(*scale);
    for (std::size_t i = 0; i < n; ++i) {
        float quotient = stored > 0.0f ? x[i] / stored : 0.0f;  // 0 where the scale is 0 or NaN
        quotient = quotient > 127.0f ? 127.0f : quotient < -127.0f ? -127.0f : quotient;
        q[i * q_stride] = static_cast<std::int8_t>(round_even(quotient));
    }
}

// A block of n <= kKvBlock elements: q, with zeros behind them, and the scale.
void quantise_q4(const float* x, std::size_t n, std::uint8_t (&q)[kKvBlock], std::uint16_t* scale) {
    const std::uint32_t largest = largest_bits(x, n);
    float extreme = -from_bits(largest);
    for (std::size_t i = 0; i < n; ++i)
        if (bits_of(x[i]) == largest) extreme = x[i];
    float d = extreme / -8.0f;
    d = d > 65504.0f ? 65504.0f : d < -65504.0f ? -65504.0f : d;
    *scale = largest >= 0x7f800000 ? std::uint16_t{0x7e00} : f32_to_f16(d);
    const float stored = f16_to_f32(*scale);
    if (stored == 0.0f) *scale = 0;  // not -0
    for (std::size_t i = 0; i < kKvBlock; ++i) {
        if (i >= n) {
            q[i] = 0;
        } else if (stored < 0.0f || stored > 0.0f) {
            const float level = x[i] / stored + 8.5f;
            q[i] = static_cast<std::uint8_t>(level > 15.0f ? 15.0f : level > 0.0f ? level : 0.0f);
        } else {
            q[i] = 8;  // the scale is 0 or NaN
        }
    }
}

}  // namespace

void kv_store(void* page, KvType type, std::size_t k_dim, std::size_t v_dim, std::size_t position, const float* k,
              const float* v) {
    const KvLayout at = kv_layout(type, k_dim, v_dim);
    auto* bytes = static_cast<std::byte*>(page);
    switch (type) {
        case KvType::f32: {
            auto* keys = reinterpret_cast<float*>(bytes) + position;
            for (std::size_t d = 0; d < k_dim; ++d) keys[d * kPageTokens] = k[d];
            auto* values = reinterpret_cast<float*>(bytes + at.v) + position * v_dim;
            for (std::size_t d = 0; d < v_dim; ++d) values[d] = v[d];
            break;
        }
        case KvType::f16: {
            auto* keys = reinterpret_cast<std::uint16_t*>(bytes) + position;
            for (std::size_t d = 0; d < k_dim; ++d) keys[d * kPageTokens] = f32_to_f16(k[d]);
            auto* values = reinterpret_cast<std::uint16_t*>(bytes + at.v) + position * v_dim;
            for (std::size_t d = 0; d < v_dim; ++d) values[d] = f32_to_f16(v[d]);
            break;
        }
        case KvType::q8_0: {
            auto* keys = reinterpret_cast<std::int8_t*>(bytes) + position;
            auto* k_scales = reinterpret_cast<std::uint16_t*>(bytes + at.k_scales) + position;
            for (std::size_t b = 0; b < blocks(k_dim); ++b)
                store_q8(k + b * kKvBlock, std::min(kKvBlock, k_dim - b * kKvBlock), keys + b * kKvBlock * kPageTokens,
                         kPageTokens, k_scales + b * kPageTokens);
            auto* values = reinterpret_cast<std::int8_t*>(bytes + at.v) + position * v_dim;
            auto* v_scales = reinterpret_cast<std::uint16_t*>(bytes + at.v_scales) + position * blocks(v_dim);
            for (std::size_t b = 0; b < blocks(v_dim); ++b)
                store_q8(v + b * kKvBlock, std::min(kKvBlock, v_dim - b * kKvBlock), values + b * kKvBlock, 1, v_scales + b);
            break;
        }
        case KvType::q4_0: {
            constexpr std::size_t kHalf = kKvBlock / 2;
            std::uint8_t q[kKvBlock];
            auto* keys = reinterpret_cast<std::uint8_t*>(bytes) + position;
            auto* k_scales = reinterpret_cast<std::uint16_t*>(bytes + at.k_scales) + position;
            for (std::size_t d = 0; d < k_dim; d += kKvBlock) {
                const std::size_t n = std::min(kKvBlock, k_dim - d);
                quantise_q4(k + d, n, q, k_scales + d / kKvBlock * kPageTokens);
                for (std::size_t j = 0; j < n; j += 2)
                    keys[(d + j) / 2 * kPageTokens] = static_cast<std::uint8_t>(q[j] | q[j + 1] << 4);
            }
            auto* values = reinterpret_cast<std::uint8_t*>(bytes + at.v) + position * at.v_row;
            auto* v_scales = reinterpret_cast<std::uint16_t*>(bytes + at.v_scales) + position * blocks(v_dim);
            for (std::size_t d = 0; d < v_dim; d += kKvBlock) {
                const std::size_t n = std::min(kKvBlock, v_dim - d);
                quantise_q4(v + d, n, q, v_scales + d / kKvBlock);
                for (std::size_t j = 0; j < std::min(n, kHalf); ++j)
                    values[d / 2 + j] = static_cast<std::uint8_t>(q[j] | q[j + kHalf] << 4);
            }
            break;
        }
    }
}

void attention(const AttentionArgs& args) {
    switch (args.type) {
        case KvType::f32: return attend<Plain<float>>(args);
        case KvType::f16: return attend<Plain<std::uint16_t>>(args);
        case KvType::q8_0: return attend<Quantised>(args);
        case KvType::q4_0: return attend<Halves>(args);
    }
}

void attention_merge(float* ma, float* la, float* oa, float mb, float lb, const float* ob, std::size_t v_dim) {
    if (lb == 0.0f) return;
    if (*la == 0.0f) {
        *ma = mb;
        *la = lb;
        for (std::size_t d = 0; d < v_dim; ++d) oa[d] = ob[d];
        return;
    }
    const float m = max_plus_zero(*ma, mb);
    const float ca = ref::exp(*ma - m);
    const float cb = ref::exp(mb - m);
    *ma = m;
    *la = std::fma(*la, ca, lb * cb);
    for (std::size_t d = 0; d < v_dim; ++d) oa[d] = std::fma(oa[d], ca, ob[d] * cb);
}

void attention_finish(float m, float l, const float* o, const float* sink, float* out, std::size_t v_dim) {
    if (l == 0.0f) {
        for (std::size_t d = 0; d < v_dim; ++d) out[d] = 0.0f;
        return;
    }
    if (!sink) {
        for (std::size_t d = 0; d < v_dim; ++d) out[d] = o[d] / l;
        return;
    }
    const float top = max_plus_zero(m, *sink);
    const float correction = ref::exp(m - top);
    const float denominator = std::fma(l, correction, ref::exp(*sink - top));
    for (std::size_t d = 0; d < v_dim; ++d) out[d] = o[d] * correction / denominator;
}

}  // namespace tern::kernels::ref
