// Attention: every instruction set against the reference bit by bit, the reference against a plain softmax in double,
// and what does not depend on the batch.
#include <memory>

#include "kernels/formats/format.h"
#include "kernels/formats/half.h"
#include "tests/kernels/kernel_test.h"

namespace tern::kernels {
namespace {

using namespace test;

constexpr KvType kAllTypes[] = {KvType::f32, KvType::f16, KvType::q8_0, KvType::q4_0};

std::size_t kv_blocks(std::size_t dim) { return (dim + kKvBlock - 1) / kKvBlock; }

template <class T>
T read(const std::uint8_t* page, std::size_t offset, std::size_t i) {
    T x;
    std::memcpy(&x, page + offset + i * sizeof x, sizeof x);
    return x;
}

// Of a byte of q4_0.
int level(std::uint8_t pair, bool second) { return second ? pair >> 4 : pair & 15; }
int key_level(const std::uint8_t* page, std::size_t position, std::size_t d) {
    return level(page[d / 2 * kPageTokens + position], d % 2 != 0);
}
int value_level(const std::uint8_t* page, const KvLayout& at, std::size_t position, std::size_t d) {
    return level(page[at.v + position * at.v_row + d / 32 * 16 + d % 16], d % 32 >= 16);
}

// The KV pages of one head, with the values that the cache really holds.
class Cache {
public:
    Cache(KvType type, std::size_t k_dim, std::size_t v_dim, std::size_t positions, Values kind, Rng& rng,
          const KernelTable& table = table_ref())
        : type_(type), k_dim_(k_dim), v_dim_(v_dim), k_(positions * k_dim), v_(positions * v_dim) {
        const std::size_t bytes = layout().bytes;
        for (std::size_t i = 0; i < (positions + kPageTokens - 1) / kPageTokens; ++i) {
            storage_.push_back(std::make_unique<Guarded<std::uint8_t>>(bytes, 4));
            // What no position has filled is NaN: it must not reach any result.
            std::memset(storage_.back()->data(), 0xff, bytes);
            pages_.push_back(storage_.back()->data());
        }
        fill(k_.data(), k_.size(), kind, rng);
        fill(v_.data(), v_.size(), kind, rng);
        for (std::size_t i = 0; i < positions; ++i)
            table.kv_store(const_cast<void*>(pages_[i / kPageTokens]), type, k_dim, v_dim, i % kPageTokens,
                           k_.data() + i * k_dim, v_.data() + i * v_dim);
    }
    const void* const* pages() const { return pages_.data(); }
    std::uint8_t* page(std::size_t i) { return storage_[i]->data(); }
    std::size_t page_count() const { return pages_.size(); }
    std::size_t page_bytes() const { return storage_[0]->size(); }
    KvLayout layout() const { return kv_layout(type_, k_dim_, v_dim_); }
    float k(std::size_t position, std::size_t d) const {
        const std::size_t at = position % kPageTokens;
        if (type_ == KvType::q4_0)
            return k_scale(position, d) * static_cast<float>(key_level(page_of(position), at, d) - 8);
        return stored(position, 0, d * kPageTokens + at, layout().k_scales, d / kKvBlock * kPageTokens + at);
    }
    float v(std::size_t position, std::size_t d) const {
        const std::size_t at = position % kPageTokens;
        if (type_ == KvType::q4_0)
            return v_scale(position, d) * static_cast<float>(value_level(page_of(position), layout(), at, d) - 8);
        return stored(position, layout().v, at * v_dim_ + d, layout().v_scales, at * kv_blocks(v_dim_) + d / kKvBlock);
    }
    KvType type() const { return type_; }

private:
    const std::uint8_t* page_of(std::size_t position) const { return storage_[position / kPageTokens]->data(); }
    float k_scale(std::size_t position, std::size_t d) const {
        return f16_to_f32(read<std::uint16_t>(page_of(position), layout().k_scales,
                                              d / kKvBlock * kPageTokens + position % kPageTokens));
    }
    float v_scale(std::size_t position, std::size_t d) const {
        return f16_to_f32(read<std::uint16_t>(page_of(position), layout().v_scales,
                                              position % kPageTokens * kv_blocks(v_dim_) + d / kKvBlock));
    }
    float stored(std::size_t position, std::size_t part, std::size_t i, std::size_t scales, std::size_t scale) const {
        const std::uint8_t* page = page_of(position);
        if (type_ == KvType::f32) return read<float>(page, part, i);
        if (type_ == KvType::f16) return f16_to_f32(read<std::uint16_t>(page, part, i));
        return f16_to_f32(read<std::uint16_t>(page, scales, scale)) * read<std::int8_t>(page, part, i);
    }
    KvType type_;
    std::size_t k_dim_, v_dim_;
    std::vector<float> k_, v_;
    std::vector<std::unique_ptr<Guarded<std::uint8_t>>> storage_;
    std::vector<const void*> pages_;
};

struct Query {
    std::size_t k_dim, v_dim;
    std::size_t chunk_begin, chunk_end;
    std::vector<std::uint32_t> lo, hi;
    Floats q;
    std::size_t q_gap = 0, o_gap = 0;
    float softcap = 0;
    std::vector<float> slopes = {};
    std::vector<std::uint32_t> positions = {};
    std::size_t rows() const { return lo.size(); }
};

struct Result {
    Floats m, l, o;
    std::size_t o_stride;
};

Result run(const KernelTable& table, const Cache& cache, const Query& query) {
    const std::size_t stride = query.v_dim + query.o_gap;
    Result r{Floats(query.rows()), Floats(query.rows()), Floats((query.rows() - 1) * stride + query.v_dim), stride};
    for (std::size_t i = 0; i < r.o.size(); ++i) r.o[i] = -7.5f;
    Guarded<std::uint8_t> scratch(attention_scratch_bytes(query.k_dim, query.v_dim), 64);
    AttentionArgs a{};
    a.pages = cache.pages();
    a.type = cache.type();
    a.k_dim = query.k_dim;
    a.v_dim = query.v_dim;
    a.chunk_begin = query.chunk_begin;
    a.chunk_end = query.chunk_end;
    a.q = query.q.data();
    a.q_stride = query.k_dim + query.q_gap;
    a.rows = query.rows();
    a.lo = query.lo.data();
    a.hi = query.hi.data();
    a.softcap = query.softcap;
    a.slopes = query.slopes.empty() ? nullptr : query.slopes.data();
    a.positions = query.positions.data();
    a.m = r.m.data();
    a.l = r.l.data();
    a.o = r.o.data();
    a.o_stride = stride;
    a.scratch = scratch.data();
    table.attention(a);
    for (std::size_t i = 0; i < r.o.size(); ++i)
        if (i % stride >= query.v_dim) {
            EXPECT_EQ(r.o[i], -7.5f) << "wrote between the rows of o";
        }
    return r;
}

testing::AssertionResult same_result(const Result& got, const Result& want, std::size_t v_dim) {
    for (std::size_t r = 0; r < want.m.size(); ++r) {
        if (!same_bits(got.l[r], want.l[r]))
            return testing::AssertionFailure() << "row " << r << " l " << got.l[r] << " " << want.l[r];
        if (!std::isnan(want.l[r]) && !same_bits(got.m[r], want.m[r]))
            return testing::AssertionFailure() << "row " << r << " m " << got.m[r] << " " << want.m[r];
        const auto o = same(got.o.data() + r * got.o_stride, want.o.data() + r * want.o_stride, v_dim);
        if (!o) return testing::AssertionFailure() << "row " << r << " o: " << o.message();
    }
    return testing::AssertionSuccess();
}

Query random_query(std::size_t k_dim, std::size_t v_dim, std::size_t rows, std::size_t positions, Values kind, Rng& rng) {
    const std::size_t q_gap = rng() % 3;
    Query query{k_dim, v_dim, 0, positions, {}, {}, random_floats((rows - 1) * (k_dim + q_gap) + k_dim, kind, rng), q_gap, rng() % 3};
    for (std::size_t i = 0; i < query.q.size(); ++i) query.q[i] *= 0.2f;
    const int policy = static_cast<int>(rng() % 4);
    for (std::size_t r = 0; r < rows; ++r) {
        std::size_t lo = 0, hi = positions;
        if (policy == 1) hi = positions - std::min(positions - 1, (rows - 1 - r) / 3);  // causal, groups of 3 heads
        if (policy == 2) hi = 1 + rng() % positions, lo = hi - std::min<std::size_t>(hi, 1 + rng() % 90);
        if (policy == 3) lo = rng() % (positions + 2), hi = rng() % (positions + 70);  // anything, empty ones too
        if (policy == 3 && hi > positions) hi = positions;
        query.lo.push_back(static_cast<std::uint32_t>(lo));
        query.hi.push_back(static_cast<std::uint32_t>(hi));
    }
    return query;
}

class Attention : public PerIsa {};

TEST_P(Attention, EqualsTheReference) {
    Rng rng(31);
    for (int turn = 0; turn < 500; ++turn) {
        const std::size_t dims[] = {64, 128, 16, 80, 1, 5, 33, 96, 47, 112, 528};
        const std::size_t k_dim = dims[rng() % 11], v_dim = dims[rng() % 11];
        const std::size_t rows = turn % 3 == 0 ? 1 + rng() % 40 : 1 + rng() % 9;
        const std::size_t positions = 1 + rng() % 300;
        const KvType type = kAllTypes[rng() % 4];
        const Values kind = turn % 4 == 3 ? Values::hostile : Values::usual;
        const Cache cache(type, k_dim, v_dim, positions, kind, rng);
        Query query = random_query(k_dim, v_dim, rows, positions, kind, rng);
        if (turn % 5 == 0) query.softcap = 3.0f;
        if (turn % 7 == 0)
            for (std::size_t r = 0; r < rows; ++r) {
                query.slopes.push_back(r % 5 == 4 ? 0.0f : std::exp2(-static_cast<float>(r % 8)));
                query.positions.push_back(static_cast<std::uint32_t>(rng() % (positions + 3)));
            }
        ASSERT_TRUE(same_result(run(table_, cache, query), run(ref_, cache, query), v_dim))
            << "turn " << turn << " k_dim=" << k_dim << " v_dim=" << v_dim << " rows=" << rows
            << " positions=" << positions;
    }
}

TEST_P(Attention, LaterChunks) {
    Rng rng(32);
    const std::size_t positions = 2 * kChunkTokens + 100;
    for (KvType type : {KvType::f16, KvType::q8_0, KvType::q4_0}) {
        const Cache cache(type, 64, 64, positions, Values::usual, rng);
        for (std::size_t rows : {1u, 4u, 25u})
            for (std::size_t begin = 0; begin < positions; begin += kChunkTokens) {
                Query query = random_query(64, 64, rows, positions, Values::usual, rng);
                query.chunk_begin = begin;
                query.chunk_end = std::min(begin + kChunkTokens, positions);
                ASSERT_TRUE(same_result(run(table_, cache, query), run(ref_, cache, query), 64)) << rows << " " << begin;
            }
    }
}

TEST_P(Attention, ARowAloneEqualsTheRowAmongOthers) {
    Rng rng(33);
    for (KvType type : kAllTypes) {
        const Cache cache(type, 64, 80, 200, Values::usual, rng);
        const Query all = random_query(64, 80, 29, 200, Values::usual, rng);
        const Result whole = run(table_, cache, all);
        for (std::size_t r = 0; r < all.rows(); ++r) {
            Floats q(64);
            std::copy_n(all.q.data() + r * (64 + all.q_gap), 64, q.data());
            const Query one{64, 80, 0, 200, {all.lo[r]}, {all.hi[r]}, q};
            const Result alone = run(table_, cache, one);
            EXPECT_TRUE(same_bits(alone.m[0], whole.m[r]) && same_bits(alone.l[0], whole.l[r]));
            EXPECT_TRUE(same(alone.o.data(), whole.o.data() + r * whole.o_stride, 80)) << "row " << r;
        }
    }
}

TEST_P(Attention, NotFiniteStaysInItsRows) {
    Rng rng(34);
    for (float bad : {HUGE_VALF, -HUGE_VALF, std::nanf("")})
        for (std::size_t rows : {2u, 12u}) {
            const Cache cache(KvType::f32, 16, 16, 130, Values::usual, rng);
            Query query{16, 16, 0, 130, std::vector<std::uint32_t>(rows, 0), std::vector<std::uint32_t>(rows, 130),
                        random_floats(rows * 16, Values::usual, rng)};
            query.q[16] = bad;
            const Result got = run(table_, cache, query);
            ASSERT_TRUE(same_result(got, run(ref_, cache, query), 16)) << bad;
            EXPECT_TRUE(std::isfinite(got.l[0]));
        }
}

// Damaged memory of the cache: what is not finite makes NaN of the rows that see it, the same ones everywhere, and a
// score of -infinity is an ordinary score.
TEST_P(Attention, NotFiniteKeysAndValues) {
    Rng rng(40);
    const float bad[] = {HUGE_VALF, -HUGE_VALF, std::nanf(""), -HUGE_VALF};
    for (int turn = 0; turn < 200; ++turn) {
        const std::size_t k_dim = 1 + rng() % 20, v_dim = 1 + rng() % 40, positions = 1 + rng() % 200;
        const KvType type = kAllTypes[turn % 4];
        Cache cache(type, k_dim, v_dim, positions, Values::usual, rng);
        const auto poke = [&](std::size_t position, bool key, std::size_t d, float x) {
            const std::size_t at = position % kPageTokens;
            const std::uint16_t h = f32_to_f16(x);
            const KvLayout layout = cache.layout();
            std::uint8_t* page = cache.page(position / kPageTokens);
            if (type == KvType::q8_0 || type == KvType::q4_0)  // only a scale can be bad
                page += key ? layout.k_scales + (d / kKvBlock * kPageTokens + at) * 2
                            : layout.v_scales + (at * kv_blocks(v_dim) + d / kKvBlock) * 2;
            else
                page += (key ? d * kPageTokens + at : k_dim * kPageTokens + at * v_dim + d) * (type == KvType::f16 ? 2 : 4);
            if (type == KvType::f32)
                std::memcpy(page, &x, 4);
            else
                std::memcpy(page, &h, 2);
        };
        for (int i = 0; i < 3; ++i) {
            const bool key = rng() % 2 != 0;
            poke(rng() % positions, key, rng() % (key ? k_dim : v_dim), bad[rng() % 4]);
        }
        if (turn % 5 == 0)  // every score of the first page is -infinity, or +infinity where q is negative
            for (std::size_t i = 0; i < std::min(positions, kPageTokens); ++i) poke(i, true, 0, -HUGE_VALF);
        Query query = random_query(k_dim, v_dim, 1 + rng() % 15, positions, Values::usual, rng);
        if (turn % 3 == 0) query.softcap = 3.0f;
        ASSERT_TRUE(same_result(run(table_, cache, query), run(ref_, cache, query), v_dim)) << "turn " << turn;
    }
}

TEST_P(Attention, KvStoreEqualsTheReference) {
    Rng rng(35);
    for (KvType type : kAllTypes)
        for (std::size_t k_dim : {1u, 15u, 16u, 33u, 64u, 100u})
            for (std::size_t v_dim : {1u, 17u, 47u, 64u})
                for (Values kind : kAllValues) {
                    Rng a(k_dim), b(k_dim);
                    Cache want(type, k_dim, v_dim, 70, kind, a, ref_), got(type, k_dim, v_dim, 70, kind, b, table_);
                    for (std::size_t i = 0; i < want.page_count(); ++i)
                        ASSERT_EQ(std::memcmp(want.page(i), got.page(i), want.page_bytes()), 0)
                            << k_dim << " " << v_dim;
                }
}

TEST_P(Attention, KvStoreOfAnyBitsEqualsTheReference) {
    Rng rng(41);
    for (int turn = 0; turn < 6000; ++turn) {
        const KvType type = turn < 3000 ? KvType::q8_0 : KvType::q4_0;
        const std::size_t dim = 45, bytes = kv_layout(type, dim, dim).bytes;
        Guarded<std::uint8_t> want(bytes, 4), got(bytes, 4);
        Floats k(dim), v(dim);
        for (Floats* x : {&k, &v})
            for (std::size_t i = 0; i < dim; ++i) {
                // One exponent; all of them, which mostly has a NaN or an infinity; the half that has none.
                const auto bits = static_cast<std::uint32_t>(rng());
                const std::uint32_t exponent = static_cast<std::uint32_t>(turn) % 256 << 23;
                const std::uint32_t u = turn % 2 ? (bits & 0x807fffff) | exponent : turn % 4 ? bits : bits & 0xbfffffff;
                std::memcpy(x->data() + i, &u, 4);
            }
        if (turn % 3 == 0) std::fill(k.data(), k.data() + dim, turn % 2 ? -0.0f : 0x1p-18f * static_cast<float>(turn));
        if (turn % 5 == 0)  // the largest magnitude with both signs
            for (std::size_t i = 0; i < dim; ++i) v[i] = rng() % 2 ? v[0] : -v[0];
        ref_.kv_store(want.data(), type, dim, dim, static_cast<std::size_t>(turn) % 64, k.data(), v.data());
        table_.kv_store(got.data(), type, dim, dim, static_cast<std::size_t>(turn) % 64, k.data(), v.data());
        ASSERT_EQ(std::memcmp(want.data(), got.data(), bytes), 0) << turn;
    }
}

TEST_P(Attention, MergeAndFinishEqualTheReference) {
    Rng rng(36);
    for (int turn = 0; turn < 2000; ++turn) {
        const std::size_t n = 1 + rng() % 130;
        const Values kind = kAllValues[turn % 3];
        Floats oa = random_floats(n, kind, rng), ob = random_floats(n, kind, rng), oc(oa);
        float ma = random_float(Values::usual, rng) * 5, mb = random_float(Values::usual, rng) * 5;
        float la = std::fabs(random_float(Values::usual, rng)) + 1, lb = std::fabs(random_float(Values::usual, rng)) + 1;
        if (turn % 7 == 0) ma = -HUGE_VALF, la = 0;
        if (turn % 5 == 0) mb = -HUGE_VALF, lb = 0;
        if (turn % 11 == 0) ma = -0.0f, mb = 0.0f;
        float mc = ma, lc = la;
        ref_.attention_merge(&ma, &la, oa.data(), mb, lb, ob.data(), n);
        table_.attention_merge(&mc, &lc, oc.data(), mb, lb, ob.data(), n);
        ASSERT_TRUE(same_bits(ma, mc) && same_bits(la, lc)) << ma << " " << mc << " " << la << " " << lc;
        ASSERT_TRUE(same(oc, oa));
        const float sink = random_float(Values::usual, rng) * 5;
        for (const float* s : {static_cast<const float*>(nullptr), &sink}) {
            Floats want(n), got(n);
            ref_.attention_finish(ma, la, oa.data(), s, want.data(), n);
            table_.attention_finish(ma, la, oa.data(), s, got.data(), n);
            ASSERT_TRUE(same(got, want)) << "sink " << (s != nullptr);
        }
    }
}
TERN_FOR_FAST_ISAS(Attention);

// ---- the reference against a plain softmax in double -------------------------------------------------------------
struct Plain {
    double m = -HUGE_VAL, l = 0;
    std::vector<double> o;       // normalised
    double score_error = 0;      // bound on a score's absolute error
    std::vector<double> spread;  // sum p |v| / l
};

Plain plain(const Cache& cache, const Query& query, std::size_t row, const float* sink) {
    Plain p;
    p.o.assign(query.v_dim, 0.0);
    p.spread.assign(query.v_dim, 0.0);
    std::vector<double> s;
    for (std::size_t i = query.lo[row]; i < query.hi[row]; ++i) {
        double dot = 0, size = 0;
        for (std::size_t d = 0; d < query.k_dim; ++d) {
            const double term = static_cast<double>(cache.k(i, d)) * query.q[row * (query.k_dim + query.q_gap) + d];
            dot += term;
            size += std::fabs(term);
        }
        double error = static_cast<double>(query.k_dim) * 0x1p-24 * size;
        if (query.softcap != 0.0f) {
            dot = query.softcap * std::tanh(dot / query.softcap);
            error += std::fabs(dot) * 6 * 0x1p-24;
        }
        p.score_error = std::max(p.score_error, error);
        s.push_back(dot);
        p.m = std::max(p.m, dot);
    }
    if (s.empty()) return p;
    const double top = sink ? std::max<double>(p.m, *sink) : p.m;
    for (std::size_t i = 0; i < s.size(); ++i) {
        const double e = std::exp(s[i] - top);
        p.l += e;
        for (std::size_t d = 0; d < query.v_dim; ++d) {
            p.o[d] += e * cache.v(query.lo[row] + i, d);
            p.spread[d] += e * std::fabs(cache.v(query.lo[row] + i, d));
        }
    }
    if (sink) p.l += std::exp(*sink - top);
    for (std::size_t d = 0; d < query.v_dim; ++d) p.o[d] /= p.l, p.spread[d] /= p.l;
    return p;
}

void check_against_double(const Query& base, const Cache& cache, std::size_t positions, const float* sink) {
    const KernelTable& t = table_ref();
    Query query = base;
    std::unique_ptr<Result> total;
    for (std::size_t begin = 0; begin < positions; begin += kChunkTokens) {
        query.chunk_begin = begin;
        query.chunk_end = std::min(begin + kChunkTokens, positions);
        auto part = std::make_unique<Result>(run(t, cache, query));
        if (!total) {
            total = std::move(part);
            continue;
        }
        for (std::size_t r = 0; r < query.rows(); ++r)
            t.attention_merge(&total->m[r], &total->l[r], total->o.data() + r * total->o_stride, part->m[r], part->l[r],
                              part->o.data() + r * part->o_stride, query.v_dim);
    }
    for (std::size_t r = 0; r < query.rows(); ++r) {
        const Plain want = plain(cache, query, r, sink);
        Floats out(query.v_dim);
        t.attention_finish(total->m[r], total->l[r], total->o.data() + r * total->o_stride, sink, out.data(), query.v_dim);
        // Scores move every weight by a factor e^(+-2 error); each position costs a rounding of its product and each
        // page three (correction, subtraction, exp); both act on sum p|v|.
        const double n = static_cast<double>(positions);
        const double relative = 4 * want.score_error + (n + 8 * (n / 64 + 2) + 2 * (std::fabs(want.m) + 20)) * 0x1p-24;
        for (std::size_t d = 0; d < query.v_dim; ++d)
            ASSERT_LE(std::fabs(out[d] - want.o[d]), 2 * relative * want.spread[d] + 1e-30) << "row " << r << " d " << d;
    }
}

TEST(ReferenceAttention, AgainstDouble) {
    Rng rng(37);
    for (int turn = 0; turn < 60; ++turn) {
        const std::size_t k_dim = 1 + rng() % 70, v_dim = 1 + rng() % 70, rows = 1 + rng() % 4;
        const std::size_t positions = turn % 10 == 0 ? 2300 : 1 + rng() % 260;
        const Cache cache(kAllTypes[turn % 4], k_dim, v_dim, positions, Values::usual, rng);
        Query query = random_query(k_dim, v_dim, rows, positions, Values::usual, rng);
        if (turn % 5 == 0) query.softcap = 5.0f;
        for (std::size_t r = 0; r < rows; ++r)
            if (query.lo[r] >= query.hi[r]) query.lo[r] = 0, query.hi[r] = 1;
        const float sink = 0.7f;
        ASSERT_NO_FATAL_FAILURE(check_against_double(query, cache, positions, turn % 4 == 1 ? &sink : nullptr)) << turn;
    }
}

// What docs/numerics.md says that a stored element of q8_0 may be off by, given its block's largest magnitude.
double q8_error(double largest) {
    const double scale = largest / 127 * (1 + 0x1p-11) + 0x1p-25;
    return std::max(scale / 2 * (1 + 0x1p-15), 127 * 0x1p-25);
}

TEST(Q8Kv, StoresWithinHalfAStep) {
    Rng rng(42);
    for (int turn = 0; turn < 500; ++turn) {
        const std::size_t k_dim = 1 + rng() % 70, v_dim = 1 + rng() % 70;
        Floats k = random_floats(k_dim, Values::usual, rng), v = random_floats(v_dim, Values::usual, rng);
        const float size = std::ldexp(1.0f, static_cast<int>(rng() % 48) - 27);  // blocks of zeros, subnormal scales, …
        for (std::size_t d = 0; d < k_dim; ++d) k[d] *= size;
        for (std::size_t d = 0; d < v_dim; ++d) v[d] *= size;
        const KvLayout at = kv_layout(KvType::q8_0, k_dim, v_dim);
        Guarded<std::uint8_t> page(at.bytes, 4);
        const std::size_t position = rng() % kPageTokens;
        table_ref().kv_store(page.data(), KvType::q8_0, k_dim, v_dim, position, k.data(), v.data());
        const auto check = [&](const Floats& x, std::size_t i, std::uint16_t scale, std::int8_t q) {
            const std::size_t block = i / kKvBlock * kKvBlock;
            float largest = 0;
            for (std::size_t j = block; j < std::min(block + kKvBlock, x.size()); ++j)
                largest = std::max(largest, std::fabs(x[j]));
            ASSERT_EQ(scale, f32_to_f16(largest / 127));
            ASSERT_NE(q, -128);
            ASSERT_LE(std::fabs(static_cast<double>(x[i]) - static_cast<double>(f16_to_f32(scale)) * q), q8_error(largest))
                << x[i] << " in a block of " << largest;
        };
        for (std::size_t d = 0; d < k_dim; ++d)
            ASSERT_NO_FATAL_FAILURE(check(k, d, read<std::uint16_t>(page.data(), at.k_scales, d / kKvBlock * kPageTokens + position),
                                          read<std::int8_t>(page.data(), 0, d * kPageTokens + position)));
        for (std::size_t d = 0; d < v_dim; ++d)
            ASSERT_NO_FATAL_FAILURE(check(v, d, read<std::uint16_t>(page.data(), at.v_scales, position * kv_blocks(v_dim) + d / kKvBlock),
                                          read<std::int8_t>(page.data(), at.v, position * v_dim + d)));
    }
}

TEST(Q8Kv, WhatNoScaleHolds) {
    const auto stored = [](std::vector<float> x) {
        x.resize(33, 1.0f);
        std::vector<std::uint8_t> page(kv_layout(KvType::q8_0, 33, 33).bytes);
        table_ref().kv_store(page.data(), KvType::q8_0, 33, 33, 0, x.data(), x.data());
        const std::size_t scales = kv_layout(KvType::q8_0, 33, 33).v_scales, v = kv_layout(KvType::q8_0, 33, 33).v;
        std::vector<float> out;
        for (std::size_t i = 0; i < 33; ++i)
            out.push_back(f16_to_f32(read<std::uint16_t>(page.data(), scales, i / 32)) * read<std::int8_t>(page.data(), v, i));
        EXPECT_NEAR(out[32], 1.0f, 1e-3f) << "another block";
        return out;
    };
    for (const float bad : {HUGE_VALF, -HUGE_VALF, std::nanf("")}) {
        const std::vector<float> x = stored({1.0f, bad});
        for (std::size_t i = 0; i < 32; ++i) EXPECT_TRUE(std::isnan(x[i]));
    }
    const std::vector<float> huge = stored({3e38f, -1e30f});
    EXPECT_EQ(huge[0], 127 * 65504.0f);
    EXPECT_EQ(huge[1], -127 * 65504.0f);
    EXPECT_EQ(huge[2], 0.0f);
    const std::vector<float> tiny = stored(std::vector<float>(32, -127 * 0x1p-25f));
    EXPECT_TRUE(same_bits(tiny[0], 0.0f)) << "not -0";
}

// Another score by at most e moves every weight by a factor within e^(+-2e); another value adds what it is off by.
TEST(Q8Kv, AttentionIsNearF32) {
    for (std::size_t turn = 0; turn < 60; ++turn) {
        Rng a(turn), b(turn);
        const std::size_t k_dim = 1 + turn, v_dim = 70 - k_dim / 2, positions = 1 + k_dim * 3;
        const Cache wide(KvType::f32, k_dim, v_dim, positions, Values::usual, a);
        const Cache narrow(KvType::q8_0, k_dim, v_dim, positions, Values::usual, b);
        Query query{k_dim, v_dim, 0, positions, {0}, {static_cast<std::uint32_t>(positions)}, random_floats(k_dim, Values::usual, a)};
        for (std::size_t d = 0; d < k_dim; ++d) query.q[d] *= 0.05f;
        double score = 0;
        std::vector<double> value(v_dim, 0.0);
        for (std::size_t i = 0; i < positions; ++i) {
            const auto error = [&](auto element, std::size_t d, std::size_t dim) {
                double largest = 0;
                for (std::size_t j = d / kKvBlock * kKvBlock; j < std::min(dim, d / kKvBlock * kKvBlock + kKvBlock); ++j)
                    largest = std::max<double>(largest, std::fabs(element(i, j)));
                return q8_error(largest);
            };
            double sum = 0;
            for (std::size_t d = 0; d < k_dim; ++d)
                sum += std::fabs(query.q[d]) * error([&](auto p, auto j) { return wide.k(p, j); }, d, k_dim);
            score = std::max(score, sum);
            for (std::size_t d = 0; d < v_dim; ++d)
                value[d] = std::max(value[d], error([&](auto p, auto j) { return wide.v(p, j); }, d, v_dim));
        }
        const Plain want = plain(wide, query, 0, nullptr);
        const Result r = run(table_ref(), narrow, query);
        const double rounding = 4 * plain(narrow, query, 0, nullptr).score_error + 2 * static_cast<double>(positions) * 0x1p-24;
        for (std::size_t d = 0; d < v_dim; ++d)
            ASSERT_LE(std::fabs(static_cast<double>(r.o[d]) / r.l[0] - want.o[d]),
                      value[d] + (std::expm1(2 * score) + 2 * rounding) * want.spread[d])
                << "turn " << turn << " d " << d;
    }
}

// ---- q4_0 -----------------------------------------------------------------------------------------------------------
// By docs/numerics.md, in double: the scale, and that no other of the 16 numbers is nearer.
TEST(Q4Kv, StoresTheNearestLevel) {
    Rng rng(43);
    for (int turn = 0; turn < 500; ++turn) {
        const std::size_t k_dim = 1 + rng() % 70, v_dim = 1 + rng() % 70;
        Floats k = random_floats(k_dim, Values::usual, rng), v = random_floats(v_dim, Values::usual, rng);
        const float size = std::ldexp(1.0f, static_cast<int>(rng() % 44) - 27);
        for (std::size_t d = 0; d < k_dim; ++d) k[d] *= size;
        for (std::size_t d = 0; d < v_dim; ++d) v[d] *= size;
        if (turn % 4 == 0) v[rng() % v_dim] = 0;
        const KvLayout at = kv_layout(KvType::q4_0, k_dim, v_dim);
        Guarded<std::uint8_t> page(at.bytes, 4);
        const std::size_t position = rng() % kPageTokens;
        table_ref().kv_store(page.data(), KvType::q4_0, k_dim, v_dim, position, k.data(), v.data());
        const auto check = [&](const Floats& x, std::size_t i, std::uint16_t scale, int q) {
            const std::size_t first = i / 32 * 32, last = std::min(first + 32, x.size());
            double extreme = 0;
            for (std::size_t j = first; j < last; ++j)
                if (std::fabs(x[j]) > std::fabs(extreme)) extreme = x[j];
            const std::uint16_t wanted = f32_to_f16(static_cast<float>(extreme / -8));
            ASSERT_EQ(scale, wanted & 0x7fff ? wanted : 0);
            const double d = f16_to_f32(scale);
            double nearest = HUGE_VAL;
            for (int level = 0; level < 16; ++level) nearest = std::min(nearest, std::fabs(x[i] - d * (level - 8)));
            // The quotient is rounded, and its sum with 8.5.
            ASSERT_LE(std::fabs(x[i] - d * (q - 8)), nearest + std::fabs(d) * 3 * 0x1p-20)
                << x[i] << " d=" << d << " q=" << q;
            // A step at the far end, and what the scale is off by, eight times.
            ASSERT_LE(nearest, std::fabs(d) + 8 * std::fabs(d - extreme / -8));
        };
        const auto scale = [&](std::size_t part, std::size_t i) { return read<std::uint16_t>(page.data(), part, i); };
        for (std::size_t d = 0; d < k_dim; ++d)
            ASSERT_NO_FATAL_FAILURE(check(k, d, scale(at.k_scales, d / 32 * kPageTokens + position),
                                          key_level(page.data(), position, d)));
        for (std::size_t d = 0; d < v_dim; ++d)
            ASSERT_NO_FATAL_FAILURE(check(v, d, scale(at.v_scales, position * kv_blocks(v_dim) + d / 32),
                                          value_level(page.data(), at, position, d)));
    }
}

// Without ties, the blocks of V are those of the file format, but for the order of scale and levels.
TEST(Q4Kv, AsTheFileFormat) {
    Rng rng(44);
    const FormatOps& format = format_ops(DType::Q4_0);
    for (int turn = 0; turn < 100; ++turn) {
        Floats x = random_floats(96, turn % 2 ? Values::wide : Values::usual, rng);
        const KvLayout at = kv_layout(KvType::q4_0, 96, 96);
        std::vector<std::uint8_t> page(at.bytes);
        table_ref().kv_store(page.data(), KvType::q4_0, 96, 96, 7, x.data(), x.data());
        std::uint8_t blocks[3][18];
        format.encode(x.data(), nullptr, blocks, 96);
        for (std::size_t b = 0; b < 3; ++b) {
            EXPECT_EQ(std::memcmp(page.data() + at.v_scales + (7 * 3 + b) * 2, blocks[b], 2), 0) << turn;
            EXPECT_EQ(std::memcmp(page.data() + at.v + 7 * at.v_row + b * 16, blocks[b] + 2, 16), 0) << turn;
        }
    }
}

TEST(Q4Kv, WhatNoScaleHolds) {
    const auto stored = [](std::vector<float> x) {
        x.resize(33, 1.0f);
        const KvLayout at = kv_layout(KvType::q4_0, 33, 33);
        std::vector<std::uint8_t> page(at.bytes);
        table_ref().kv_store(page.data(), KvType::q4_0, 33, 33, 0, x.data(), x.data());
        std::vector<float> out;
        for (std::size_t i = 0; i < 33; ++i)
            out.push_back(f16_to_f32(read<std::uint16_t>(page.data(), at.v_scales, i / 32)) *
                          static_cast<float>(value_level(page.data(), at, 0, i) - 8));
        EXPECT_EQ(out[32], 1.0f) << "another block";
        return out;
    };
    for (const float bad : {HUGE_VALF, -HUGE_VALF, std::nanf("")}) {
        const std::vector<float> x = stored({1.0f, bad});
        for (std::size_t i = 0; i < 32; ++i) EXPECT_TRUE(std::isnan(x[i]));
    }
    const std::vector<float> huge = stored({3e38f, -1e30f, 0.0f});
    EXPECT_EQ(huge[0], 8 * 65504.0f);
    EXPECT_EQ(huge[1], -7 * 65504.0f);
    EXPECT_EQ(huge[2], 0.0f);
    const std::vector<float> tiny = stored(std::vector<float>(32, 8 * 0x1p-25f));
    EXPECT_TRUE(same_bits(tiny[0], 0.0f)) << "not -0";
    const std::vector<float> both = stored({-2.0f, 0.25f, 2.0f});
    EXPECT_EQ(both[0], -1.75f) << "the positive one of two extremes gets the longer side";
    EXPECT_EQ(both[2], 2.0f);
}

// Several threads may store the positions of a page at the same time: a store changes no byte of another position.
TEST(KvPages, APositionTouchesNoNeighbour) {
    Rng rng(45);
    for (const KvType type : kAllTypes)
        for (const std::size_t dim : {1u, 15u, 31u, 33u, 48u, 64u}) {
            const std::size_t other = dim + 3, bytes = kv_layout(type, dim, other).bytes;
            std::vector<int> owner(bytes, -1);
            for (std::size_t position = 0; position < kPageTokens; ++position) {
                std::vector<std::uint8_t> zeros(bytes, 0x00), ones(bytes, 0xff);
                const Floats k = random_floats(dim, Values::usual, rng), v = random_floats(other, Values::usual, rng);
                table_ref().kv_store(zeros.data(), type, dim, other, position, k.data(), v.data());
                table_ref().kv_store(ones.data(), type, dim, other, position, k.data(), v.data());
                for (std::size_t i = 0; i < bytes; ++i) {
                    if (zeros[i] == 0x00 && ones[i] == 0xff) continue;
                    ASSERT_EQ(zeros[i], ones[i]) << "a part of a byte";
                    ASSERT_EQ(owner[i], -1) << "byte " << i << " of positions " << owner[i] << " and " << position;
                    owner[i] = static_cast<int>(position);
                }
            }
            for (const int o : owner) ASSERT_GE(o, 0) << "bytes of no position";
        }
}

TEST(KvPages, PartsStayAligned) {
    for (KvType type : kAllTypes)
        for (std::size_t k_dim = 1; k_dim < 140; ++k_dim) {
            const KvLayout at = kv_layout(type, k_dim, 141 - k_dim);
            for (std::size_t offset : {at.k_scales, at.v, at.v_scales, at.bytes}) EXPECT_EQ(offset % 64, 0u);
        }
    EXPECT_EQ(kv_layout(KvType::q8_0, 64, 128).bytes, 64u * (64 + 128) * 34 / 32);
    EXPECT_EQ(kv_layout(KvType::q4_0, 64, 128).bytes, 64u * (64 + 128) * 18 / 32);
    EXPECT_EQ(kv_layout(KvType::q4_0, 5, 49).bytes, 64u * (3 + 2 + 32 + 4));
    EXPECT_EQ(kv_layout(KvType::f16, 64, 128).bytes, 64u * (64 + 128) * 2);
}

TEST(ReferenceAttention, SeeingNothingGivesZeros) {
    Rng rng(38);
    const Cache cache(KvType::f16, 16, 8, 64, Values::usual, rng);
    const Query query{16, 8, 0, 64, {5, 0, 64}, {5, 0, 10}, random_floats(48, Values::usual, rng)};
    const Result r = run(table_ref(), cache, query);
    const float sink = 1.0f;
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(r.m[i], -HUGE_VALF);
        EXPECT_EQ(r.l[i], 0.0f);
        Floats out(8);
        for (const float* s : {static_cast<const float*>(nullptr), &sink}) {
            out[3] = 9.0f;
            table_ref().attention_finish(r.m[i], r.l[i], r.o.data() + 8 * i, s, out.data(), 8);
            for (float v : out) EXPECT_TRUE(same_bits(v, 0.0f));
        }
    }
}

// One position: its weight is 1, so the output is its value.
TEST(ReferenceAttention, OnePositionIsItsValue) {
    Rng rng(39);
    const Cache cache(KvType::f32, 16, 8, 100, Values::usual, rng);
    const Query query{16, 8, 0, 100, {77}, {78}, random_floats(16, Values::usual, rng)};
    const Result r = run(table_ref(), cache, query);
    EXPECT_EQ(r.l[0], 1.0f);
    for (std::size_t d = 0; d < 8; ++d) EXPECT_EQ(r.o[d], cache.v(77, d));
}

}  // namespace
}  // namespace tern::kernels
