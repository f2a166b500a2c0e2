#include "kernels/ref/ref.h"
#include "kernels/ref/scalar.h"

namespace tern::kernels::ref {
namespace {

template <class Element>
float load(const Element* p) {
    if constexpr (sizeof(Element) == 2)
        return f16_to_f32(*p);
    else
        return *p;
}

// One page for one query row; positions [first, last) of the page are visible, at least one.
template <class Element>
void attend_page(const AttentionArgs& a, const Element* page, std::size_t first, std::size_t last, const float* q,
                 float& m, float& l, float* o) {
    const Element* keys = page;
    const Element* values = page + a.k_dim * kPageTokens;
    float p[kPageTokens] = {};
    float page_max = -kInfinity;
    for (std::size_t d = 0; d < a.k_dim; ++d)
        for (std::size_t i = first; i < last; ++i) p[i] = std::fma(load(keys + d * kPageTokens + i), q[d], p[i]);
    for (std::size_t i = first; i < last; ++i) {
        if (a.softcap != 0.0f) p[i] = a.softcap * ref::tanh(p[i] / a.softcap);
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
        for (std::size_t d = 0; d < a.v_dim; ++d) o[d] = std::fma(p[i], load(values + i * a.v_dim + d), o[d]);
}

template <class Element>
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
            const auto* page = static_cast<const Element*>(a.pages[begin / kPageTokens]);
            attend_page(a, page, first, last, a.q + r * a.q_stride, a.m[r], a.l[r], o);
        }
    }
}

}  // namespace

void kv_store(void* page, KvType type, std::size_t k_dim, std::size_t v_dim, std::size_t position, const float* k,
              const float* v) {
    if (type == KvType::f16) {
        auto* keys = static_cast<std::uint16_t*>(page) + position;
        for (std::size_t d = 0; d < k_dim; ++d) keys[d * kPageTokens] = f32_to_f16(k[d]);
        auto* values = static_cast<std::uint16_t*>(page) + k_dim * kPageTokens + position * v_dim;
        for (std::size_t d = 0; d < v_dim; ++d) values[d] = f32_to_f16(v[d]);
    } else {
        auto* keys = static_cast<float*>(page) + position;
        for (std::size_t d = 0; d < k_dim; ++d) keys[d * kPageTokens] = k[d];
        auto* values = static_cast<float*>(page) + k_dim * kPageTokens + position * v_dim;
        for (std::size_t d = 0; d < v_dim; ++d) values[d] = v[d];
    }
}

void attention(const AttentionArgs& args) {
    if (args.type == KvType::f16)
        attend<std::uint16_t>(args);
    else
        attend<float>(args);
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
