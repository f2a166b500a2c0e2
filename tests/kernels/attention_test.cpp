// Attention: every instruction set against the reference bit by bit, the reference against a plain softmax in double,
// and what does not depend on the batch.
#include <memory>

#include "kernels/formats/half.h"
#include "tests/kernels/kernel_test.h"

namespace tern::kernels {
namespace {

using namespace test;

// The KV pages of one head, with the values that the cache really holds.
class Cache {
public:
    Cache(KvType type, std::size_t k_dim, std::size_t v_dim, std::size_t positions, Values kind, Rng& rng,
          const KernelTable& table = table_ref())
        : type_(type), k_dim_(k_dim), v_dim_(v_dim), k_(positions * k_dim), v_(positions * v_dim) {
        const std::size_t bytes = (k_dim + v_dim) * kPageTokens * (type == KvType::f16 ? 2 : 4);
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
    float k(std::size_t position, std::size_t d) const { return stored(k_[position * k_dim_ + d]); }
    float v(std::size_t position, std::size_t d) const { return stored(v_[position * v_dim_ + d]); }
    KvType type() const { return type_; }

private:
    float stored(float x) const { return type_ == KvType::f16 ? f16_to_f32(f32_to_f16(x)) : x; }
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
    for (int turn = 0; turn < 400; ++turn) {
        const std::size_t dims[] = {64, 128, 16, 80, 1, 5, 33, 96, 47, 112};
        const std::size_t k_dim = dims[rng() % 10], v_dim = dims[rng() % 10];
        const std::size_t rows = turn % 3 == 0 ? 1 + rng() % 40 : 1 + rng() % 9;
        const std::size_t positions = 1 + rng() % 300;
        const KvType type = rng() % 2 ? KvType::f16 : KvType::f32;
        const Values kind = turn % 4 == 3 ? Values::hostile : Values::usual;
        const Cache cache(type, k_dim, v_dim, positions, kind, rng);
        Query query = random_query(k_dim, v_dim, rows, positions, kind, rng);
        if (turn % 5 == 0) query.softcap = 3.0f;
        ASSERT_TRUE(same_result(run(table_, cache, query), run(ref_, cache, query), v_dim))
            << "turn " << turn << " k_dim=" << k_dim << " v_dim=" << v_dim << " rows=" << rows
            << " positions=" << positions;
    }
}

TEST_P(Attention, LaterChunks) {
    Rng rng(32);
    const std::size_t positions = 2 * kChunkTokens + 100;
    const Cache cache(KvType::f16, 64, 64, positions, Values::usual, rng);
    for (std::size_t rows : {1u, 4u, 25u})
        for (std::size_t begin = 0; begin < positions; begin += kChunkTokens) {
            Query query = random_query(64, 64, rows, positions, Values::usual, rng);
            query.chunk_begin = begin;
            query.chunk_end = std::min(begin + kChunkTokens, positions);
            ASSERT_TRUE(same_result(run(table_, cache, query), run(ref_, cache, query), 64)) << rows << " " << begin;
        }
}

TEST_P(Attention, ARowAloneEqualsTheRowAmongOthers) {
    Rng rng(33);
    for (KvType type : {KvType::f16, KvType::f32}) {
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
        const KvType type = turn % 2 ? KvType::f16 : KvType::f32;
        Cache cache(type, k_dim, v_dim, positions, Values::usual, rng);
        const auto poke = [&](std::size_t position, std::size_t element, float x) {
            std::uint8_t* page = cache.page(position / kPageTokens);
            const std::uint16_t h = f32_to_f16(x);
            if (type == KvType::f16)
                std::memcpy(page + element * 2, &h, 2);
            else
                std::memcpy(page + element * 4, &x, 4);
        };
        for (int i = 0; i < 3; ++i) {
            const std::size_t position = rng() % positions, at = position % kPageTokens;
            const bool key = rng() % 2 != 0;
            poke(position, key ? rng() % k_dim * kPageTokens + at : k_dim * kPageTokens + at * v_dim + rng() % v_dim,
                 bad[rng() % 4]);
        }
        if (turn % 5 == 0)  // every score of the first page is -infinity, or +infinity where q is negative
            for (std::size_t i = 0; i < std::min(positions, kPageTokens); ++i) poke(i, i, -HUGE_VALF);
        Query query = random_query(k_dim, v_dim, 1 + rng() % 15, positions, Values::usual, rng);
        if (turn % 3 == 0) query.softcap = 3.0f;
        ASSERT_TRUE(same_result(run(table_, cache, query), run(ref_, cache, query), v_dim)) << "turn " << turn;
    }
}

TEST_P(Attention, KvStoreEqualsTheReference) {
    Rng rng(35);
    for (KvType type : {KvType::f16, KvType::f32})
        for (std::size_t k_dim : {1u, 15u, 16u, 64u, 100u})
            for (std::size_t v_dim : {1u, 17u, 64u})
                for (Values kind : kAllValues) {
                    Rng a(k_dim), b(k_dim);
                    Cache want(type, k_dim, v_dim, 70, kind, a, ref_), got(type, k_dim, v_dim, 70, kind, b, table_);
                    for (std::size_t i = 0; i < want.page_count(); ++i)
                        ASSERT_EQ(std::memcmp(want.page(i), got.page(i), want.page_bytes()), 0)
                            << k_dim << " " << v_dim;
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
        const Cache cache(turn % 2 ? KvType::f16 : KvType::f32, k_dim, v_dim, positions, Values::usual, rng);
        Query query = random_query(k_dim, v_dim, rows, positions, Values::usual, rng);
        if (turn % 3 == 0) query.softcap = 5.0f;
        for (std::size_t r = 0; r < rows; ++r)
            if (query.lo[r] >= query.hi[r]) query.lo[r] = 0, query.hi[r] = 1;
        const float sink = 0.7f;
        ASSERT_NO_FATAL_FAILURE(check_against_double(query, cache, positions, turn % 4 == 1 ? &sink : nullptr)) << turn;
    }
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
