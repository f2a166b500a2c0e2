// Float matrix products: every instruction set against the reference bit by bit, the reference against double.
#include "kernels/formats/half.h"
#include "tests/kernels/kernel_test.h"

namespace tern::kernels {
namespace {

using namespace test;

struct Shape {
    std::size_t rows, k, tokens;
    std::size_t row_gap = 0, x_gap = 0, out_gap = 0;  // elements
};

std::size_t width(DType d) { return d == DType::F32 ? 4 : 2; }

float as_float(DType d, const std::uint8_t* p) {
    if (d == DType::F32) {
        float x;
        std::memcpy(&x, p, 4);
        return x;
    }
    std::uint16_t h;
    std::memcpy(&h, p, 2);
    return d == DType::F16 ? f16_to_f32(h) : bf16_to_f32(h);
}

class Problem {
public:
    Problem(DType dtype, const Shape& s, Values kind, Rng& rng)
        : dtype_(dtype),
          s_(s),
          w_(((s.rows - 1) * (s.k + s.row_gap) + s.k) * width(dtype)),
          x_((s.tokens - 1) * (s.k + s.x_gap) + s.k) {
        for (std::size_t i = 0; i < w_.size(); i += width(dtype)) {
            const float v = random_float(kind, rng);
            const std::uint16_t h = dtype == DType::F16 ? f32_to_f16(v) : f32_to_bf16(v);
            if (dtype == DType::F32)
                std::memcpy(&w_[i], &v, 4);
            else
                std::memcpy(&w_[i], &h, 2);
        }
        fill(x_.data(), x_.size(), kind, rng);
    }
    // out[t * stride + r] of the given part; what lies between must stay untouched.
    Floats run(const KernelTable& table, std::size_t row, std::size_t rows, std::size_t token,
               std::size_t tokens) const {
        const MatmulKernel& kernel = table.matmul[static_cast<std::size_t>(dtype_)];
        const std::size_t stride = rows + s_.out_gap;
        Floats out((tokens - 1) * stride + rows);
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = -7.5f;
        Guarded<std::uint8_t> scratch(kernel.scratch_bytes(s_.k, tokens), 64);
        MatmulArgs a{};
        a.w = w_.data() + row * row_bytes();
        a.w_row_bytes = row_bytes();
        a.rows = rows;
        a.k = s_.k;
        a.act = x_.data() + token * (s_.k + s_.x_gap);
        a.act_stride = s_.k + s_.x_gap;
        a.tokens = tokens;
        a.out = out.data();
        a.out_stride = stride;
        a.scratch = scratch.data();
        kernel.run(a);
        for (std::size_t i = 0; i < out.size(); ++i)
            if (i % stride >= rows) {
                EXPECT_EQ(out[i], -7.5f) << "wrote between the rows of out";
            }
        return out;
    }
    Floats run(const KernelTable& table) const { return run(table, 0, s_.rows, 0, s_.tokens); }
    float w(std::size_t r, std::size_t k) const { return as_float(dtype_, w_.data() + r * row_bytes() + k * width(dtype_)); }
    float x(std::size_t t, std::size_t k) const { return x_[t * (s_.k + s_.x_gap) + k]; }
    void set_x(std::size_t at, float value) { x_[at] = value; }
    std::size_t row_bytes() const { return (s_.k + s_.row_gap) * width(dtype_); }

private:
    DType dtype_;
    Shape s_;
    Guarded<std::uint8_t> w_;
    Floats x_;
};

const DType kFloatTypes[] = {DType::F32, DType::F16, DType::BF16};

class MatmulFloat : public PerIsa {};

TEST_P(MatmulFloat, EqualsTheReference) {
    Rng rng(21);
    for (DType dtype : kFloatTypes)
        for (std::size_t tokens = 1; tokens <= 17; ++tokens)
            for (std::size_t k : {1u, 7u, 16u, 33u, 64u, 100u, 511u, 512u, 513u, 1040u}) {
                const Shape s{1 + rng() % 19, k, tokens, rng() % 3, rng() % 3, rng() % 3};
                const Values kind = kAllValues[rng() % 3];
                const Problem p(dtype, s, kind, rng);
                ASSERT_TRUE(same(p.run(table_), p.run(ref_)))
                    << to_string(dtype) << " rows=" << s.rows << " k=" << k << " tokens=" << tokens;
            }
}

TEST_P(MatmulFloat, ManyTokensAndLongRows) {
    Rng rng(22);
    for (DType dtype : kFloatTypes)
        for (const Shape& s : {Shape{9, 128, 200}, Shape{3, 20000, 40}, Shape{17, 2050, 101, 5}}) {
            const Problem p(dtype, s, Values::usual, rng);
            ASSERT_TRUE(same(p.run(table_), p.run(ref_))) << to_string(dtype) << " k=" << s.k;
        }
}

// Any split over rows and tokens gives the bits of the whole: what threads and batches do.
TEST_P(MatmulFloat, ARowAloneEqualsTheRowAmongOthers) {
    Rng rng(23);
    for (DType dtype : kFloatTypes) {
        const Shape s{21, 333, 17};
        const Problem p(dtype, s, Values::wide, rng);
        const Floats whole = p.run(table_);
        for (int turn = 0; turn < 60; ++turn) {
            const std::size_t row = rng() % s.rows, token = rng() % s.tokens;
            const std::size_t rows = 1 + rng() % (s.rows - row), tokens = 1 + rng() % (s.tokens - token);
            const Floats part = p.run(table_, row, rows, token, tokens);
            for (std::size_t t = 0; t < tokens; ++t)
                ASSERT_TRUE(same(part.data() + t * rows, whole.data() + (token + t) * s.rows + row, rows));
        }
    }
}

TEST_P(MatmulFloat, NotFinite) {
    Rng rng(24);
    const float bad[] = {HUGE_VALF, -HUGE_VALF, std::nanf(""), 3e38f};
    for (DType dtype : kFloatTypes)
        for (std::size_t tokens : {1u, 3u, 9u})
            for (float value : bad) {
                Problem p(dtype, {9, 50, tokens}, Values::usual, rng);
                for (std::size_t at : {std::size_t{5}, 50 * tokens - 1}) p.set_x(at, value);
                EXPECT_TRUE(same(p.run(table_), p.run(ref_))) << to_string(dtype) << " " << value;
            }
}
TERN_FOR_FAST_ISAS(MatmulFloat);

// |error| <= gamma(k/16 + 5) * sum |w x|: ceil(k/16) fmas in a stripe, four additions in the tree.
TEST(ReferenceMatmulFloat, AgainstDouble) {
    Rng rng(25);
    for (DType dtype : kFloatTypes)
        for (std::size_t k : {1u, 15u, 64u, 1000u}) {
            const Shape s{5, k, 4};
            const Problem p(dtype, s, Values::usual, rng);
            const Floats out = p.run(table_ref());
            for (std::size_t t = 0; t < s.tokens; ++t)
                for (std::size_t r = 0; r < s.rows; ++r) {
                    double want = 0, size = 0;
                    for (std::size_t i = 0; i < k; ++i) {
                        const double term = static_cast<double>(p.w(r, i)) * p.x(t, i);
                        want += term;
                        size += std::fabs(term);
                    }
                    const double bound = (static_cast<double>(k) / 16 + 5) * 0x1p-24 * 1.01 * size;
                    EXPECT_LE(std::fabs(out[t * s.rows + r] - want), bound) << to_string(dtype) << " k=" << k;
                }
        }
}

// The order itself: stripes of 16, then the tree.
TEST(ReferenceMatmulFloat, SumsInStripes) {
    std::vector<float> w(32, 0.0f), x(32, 1.0f);
    w[3] = 1e30f, w[4] = 1.0f, w[19] = -1e30f;  // stripe 3 cancels before stripe 4 is added
    float out = 0;
    MatmulArgs a{};
    a.w = w.data(), a.w_row_bytes = 128, a.rows = 1, a.k = 32, a.act = x.data(), a.act_stride = 32, a.tokens = 1;
    a.out = &out, a.out_stride = 1;
    table_ref().matmul[0].run(a);
    EXPECT_EQ(out, 1.0f);
    std::swap(w[19], w[7]);  // now they meet in the tree: (3 + 7) after (4) joined 0
    table_ref().matmul[0].run(a);
    EXPECT_EQ(out, 1.0f);
    w[4] = 0.0f, w[11] = 1.0f;  // stripe 11 joins 3 first and is lost
    table_ref().matmul[0].run(a);
    EXPECT_EQ(out, 0.0f);
}

}  // namespace
}  // namespace tern::kernels
