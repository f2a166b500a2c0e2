// Quantised matrix products of every usable instruction set against kernels/ref, bit by bit. All memory that a kernel
// may touch ends at a page that faults.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <tern/dtype.h>

#include "kernels/cpu.h"
#include "kernels/formats/format.h"
#include "kernels/kernel.h"
#include "kernels/registry.h"

namespace tern::kernels {
namespace {

using Rng = std::mt19937_64;

// `bytes` bytes whose last one stands right before a page without access.
class Guarded {
public:
    explicit Guarded(std::size_t bytes) {
        const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        const std::size_t body = (bytes + page - 1) / page * page;
        size_ = body + 2 * page;
        base_ = static_cast<std::uint8_t*>(
            mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (base_ == MAP_FAILED) throw std::bad_alloc();
        mprotect(base_, page, PROT_NONE);
        mprotect(base_ + page + body, page, PROT_NONE);
        data_ = base_ + page + body - bytes;
    }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;
    ~Guarded() { munmap(base_, size_); }
    std::uint8_t* data() const { return data_; }

private:
    std::uint8_t* base_ = nullptr;
    std::uint8_t* data_ = nullptr;
    std::size_t size_ = 0;
};

struct Shape {
    std::size_t rows, k, tokens;
    std::size_t row_gap = 0;    // bytes between rows
    std::size_t token_gap = 0;  // blocks between superblocks, floats between outputs
};

enum class Scales { usual, any_bits };

void fill_weights(DType dtype, std::uint8_t* w, const Shape& s, Scales scales, Rng& rng) {
    const DTypeInfo& i = info(dtype);
    const std::size_t bytes = row_bytes(dtype, s.k);
    for (std::size_t r = 0; r < s.rows; ++r, w += bytes + s.row_gap)
        for (std::size_t b = 0; b < bytes; b += i.block_bytes) {
            UnpackedBlock u;
            auto sane = [](float x) {
                return x == 0.0f || (std::isfinite(x) && std::fabs(x) < 256.0f && std::fabs(x) > 1e-6f);
            };
            do {
                for (std::size_t j = 0; j < i.block_bytes; ++j) w[b + j] = static_cast<std::uint8_t>(rng());
                format_ops(dtype).unpack(w + b, u);
            } while (scales == Scales::usual && !(sane(u.d) && sane(u.dmin)));
        }
}

void finish_block(ActKind kind, ActBlock& a, Rng& rng) {
    auto scale = [&] { return std::ldexp(1.0f + static_cast<float>(rng() % 1024) / 1024.0f, int(rng() % 8) - 10); };
    auto sum = [&](std::size_t begin, std::size_t n) {
        int total = 0;
        for (std::size_t j = begin; j < begin + n; ++j) total += a.q[j];
        return static_cast<std::int16_t>(total);
    };
    if (kind == ActKind::q8_256) {
        a.k.d = scale();
        for (std::size_t j = 0; j < 8; ++j) a.k.sum32[j] = sum(j * 32, 32);
        for (std::size_t j = 0; j < 16; ++j) a.k.sum16[j] = sum(j * 16, 16);
    } else {
        for (std::size_t j = 0; j < 8; ++j) {
            a.b.d[j] = scale();
            a.b.sum[j] = sum(j * 32, 32);
        }
    }
}

// Two calls with the same arguments except for output and scratch.
class Product {
public:
    Product(DType dtype, const Shape& s)
        : dtype_(dtype),
          shape_(s),
          supers_((s.k + 255) / 256),
          row_bytes_(row_bytes(dtype, s.k)),
          w_((row_bytes_ + s.row_gap) * (s.rows - 1) + row_bytes_),
          act_(((s.tokens + s.token_gap) * (supers_ - 1) + s.tokens) * sizeof(ActBlock)) {}

    void fill(Scales scales, Rng& rng) {
        fill_weights(dtype_, w_.data(), shape_, scales, rng);
        fill_activations(rng, [&] { return static_cast<int>(rng() % 255) - 127; });
    }
    std::uint8_t* weights() const { return w_.data(); }
    template <class F>
    void fill_activations(Rng& rng, F value) {
        for (std::size_t s = 0; s < supers_; ++s)
            for (std::size_t t = 0; t < shape_.tokens; ++t) {
                ActBlock& a = block(s, t);
                std::memset(&a, 0, sizeof a);
                for (std::size_t j = 0; j < 256 && s * 256 + j < shape_.k; ++j)
                    a.q[j] = static_cast<std::int8_t>(value());
                finish_block(act_kind(dtype_), a, rng);
            }
    }

    // Other scales for the activations. A block whose scale is 0 or NaN holds zeros.
    template <class F>
    void change_scales(Rng& rng, F scale) {
        const bool whole = act_kind(dtype_) == ActKind::q8_256;
        for (std::size_t s = 0; s < supers_; ++s)
            for (std::size_t t = 0; t < shape_.tokens; ++t) {
                ActBlock& a = block(s, t);
                float d[8];
                for (std::size_t part = 0; part < 8; ++part) {
                    d[part] = whole && part > 0 ? d[0] : scale();
                    if (d[part] == 0.0f || std::isnan(d[part])) std::memset(a.q + part * 32, 0, 32);
                }
                finish_block(act_kind(dtype_), a, rng);
                if (whole)
                    a.k.d = d[0];
                else
                    std::memcpy(a.b.d, d, sizeof d);
            }
    }

    // The result of rows [row, row + rows) and tokens [token, token + tokens).
    std::vector<float> run(const MatmulKernel& kernel, std::size_t row, std::size_t rows, std::size_t token,
                           std::size_t tokens) const {
        const std::size_t stride = rows + shape_.token_gap;
        constexpr float kUntouched = -12345.0f;
        const std::size_t floats = stride * (tokens - 1) + rows;
        Guarded out(floats * sizeof(float));
        auto* o = reinterpret_cast<float*>(out.data());
        for (std::size_t j = 0; j < floats; ++j) o[j] = kUntouched;
        const std::size_t bytes = (kernel.scratch_bytes(shape_.k, tokens) + 63) / 64 * 64;
        Guarded scratch(bytes);
        std::memset(scratch.data(), 0xff, bytes);
        MatmulArgs args{};
        args.w = w_.data() + row * (row_bytes_ + shape_.row_gap);
        args.w_row_bytes = row_bytes_ + shape_.row_gap;
        args.rows = rows;
        args.k = shape_.k;
        args.act = &block(0, token);
        args.act_stride = shape_.tokens + shape_.token_gap;
        args.tokens = tokens;
        args.out = o;
        args.out_stride = stride;
        args.scratch = scratch.data();
        kernel.run(args);
        std::vector<float> result;
        for (std::size_t t = 0; t < tokens; ++t) {
            result.insert(result.end(), o + t * stride, o + t * stride + rows);
            for (std::size_t j = rows; j < stride && t + 1 < tokens; ++j)
                EXPECT_EQ(o[t * stride + j], kUntouched) << "written between the rows of the output";
        }
        return result;
    }
    std::vector<float> run(const MatmulKernel& kernel) const {
        return run(kernel, 0, shape_.rows, 0, shape_.tokens);
    }

private:
    ActBlock& block(std::size_t s, std::size_t t) const {
        return reinterpret_cast<ActBlock*>(act_.data())[s * (shape_.tokens + shape_.token_gap) + t];
    }
    DType dtype_;
    Shape shape_;
    std::size_t supers_;
    std::size_t row_bytes_;
    Guarded w_;
    Guarded act_;
};

// Bits, except that a NaN equals a NaN.
testing::AssertionResult same(const std::vector<float>& got, const std::vector<float>& want) {
    if (got.size() != want.size()) return testing::AssertionFailure() << "sizes differ";
    std::size_t differ = 0, first = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        if (std::isnan(got[i]) && std::isnan(want[i])) continue;
        if (std::memcmp(&got[i], &want[i], sizeof(float)) != 0 && differ++ == 0) first = i;
    }
    if (differ == 0) return testing::AssertionSuccess();
    return testing::AssertionFailure() << differ << " of " << got.size() << " values differ, first at " << first
                                       << ": got " << got[first] << ", want " << want[first];
}

struct Case {
    std::string isa;
    DType dtype;
};
std::vector<Case> cases() {
    std::vector<Case> all;
    const IsaList list = isas(detect_cpu());
    for (std::size_t i = 0; i < list.count; ++i)
        if (list.items[i].usable && std::string(list.items[i].name) != "scalar")
            for (const DTypeInfo& d : all_dtypes())
                if (format_ops(d.dtype).quantised) all.push_back({list.items[i].name, d.dtype});
    return all;
}

class MatmulQuant : public testing::TestWithParam<Case> {
protected:
    MatmulQuant() : rng_(static_cast<std::uint64_t>(GetParam().dtype) * 7919 + 1) {
        const auto set = select(detect_cpu(), GetParam().isa);
        const auto slot = static_cast<std::size_t>(GetParam().dtype);
        kernel_ = set->table.matmul[slot];
        origin_ = set->matmul_isa[slot];
        ref_ = table_ref().matmul[slot];
    }
    bool small_blocks() const { return info(GetParam().dtype).block == 32; }
    std::size_t pick(std::initializer_list<std::size_t> values) { return values.begin()[rng_() % values.size()]; }
    std::size_t random_k() {
        return small_blocks() ? pick({32, 64, 96, 160, 224, 256, 288, 480, 512, 736, 1024, 2080})
                              : pick({256, 512, 768, 1280, 2048, 2560, 4096, 4352});
    }
    void compare(const Shape& s, Scales scales = Scales::usual) {
        Product p(GetParam().dtype, s);
        p.fill(scales, rng_);
        EXPECT_TRUE(same(p.run(kernel_), p.run(ref_)))
            << "rows " << s.rows << " k " << s.k << " tokens " << s.tokens << " gaps " << s.row_gap << " "
            << s.token_gap;
    }
    Rng rng_;
    MatmulKernel kernel_;
    MatmulKernel ref_;
    std::string origin_;
};

TEST_P(MatmulQuant, ComesFromTheForcedInstructionSet) { EXPECT_EQ(origin_, GetParam().isa); }

TEST_P(MatmulQuant, EqualsTheReferenceForAnyTokens) {
    for (std::size_t tokens = 1; tokens <= 17; ++tokens) compare({1 + rng_() % 50, random_k(), tokens});
    compare({1 + rng_() % 50, small_blocks() ? 96u : 512u, 33});
    compare({1 + rng_() % 50, small_blocks() ? 320u : 256u, 48});
    compare({49, small_blocks() ? 32u : 256u, 100});
}

TEST_P(MatmulQuant, EqualsTheReferenceForAnyRows) {
    for (std::size_t rows = 1; rows <= 51; ++rows) compare({rows, random_k(), 1});
    for (std::size_t rows : {1, 15, 16, 17, 31, 33, 47, 48, 63, 65, 97, 130}) compare({rows, random_k(), 5});
}

TEST_P(MatmulQuant, EqualsTheReferenceForLongRows) {
    compare({3, small_blocks() ? 16384u + 32u : 16384u + 256u, 1});
    compare({17, small_blocks() ? 8192u + 224u : 8192u + 256u, 1});
    compare({3, small_blocks() ? 8192u + 224u : 8192u + 256u, 3});
}

TEST_P(MatmulQuant, MoreTokensThanOneBlockOfSums) { compare({2, small_blocks() ? 64u : 256u, 1030}); }

TEST_P(MatmulQuant, GapsBetweenRowsAndTokens) {
    for (std::size_t tokens : {1, 2, 7, 16, 21}) {
        compare({1 + rng_() % 40, random_k(), tokens, 1 + rng_() % 100, 0});
        compare({1 + rng_() % 40, random_k(), tokens, 0, 1 + rng_() % 5});
    }
}

TEST_P(MatmulQuant, AnyScaleBits) {
    for (std::size_t tokens : {1, 3, 18}) compare({33, small_blocks() ? 96u : 512u, tokens}, Scales::any_bits);
}

TEST_P(MatmulQuant, ExtremeValues) {
    for (int pattern : {0x00, 0x7f, 0x80, 0xff, -1})
        for (int activation : {127, -127, 0}) {
            const Shape s{19, small_blocks() ? 544u : 768u, 1 + rng_() % 9};
            Product p(GetParam().dtype, s);
            p.fill(Scales::usual, rng_);
            if (pattern >= 0) std::memset(p.weights(), pattern, row_bytes(GetParam().dtype, s.k) * s.rows);
            p.fill_activations(rng_, [&] { return activation == 0 ? (rng_() % 2 ? 127 : -127) : activation; });
            EXPECT_TRUE(same(p.run(kernel_), p.run(ref_))) << "bytes " << pattern << " activations " << activation;
        }
}

// Scales of activations as quantising gives them for zeros, for what is not finite and for tiny values, whose products
// with the weights' scales are subnormal: no path may skip a block or flush.
TEST_P(MatmulQuant, EveryScaleOfActivations) {
    const float scales[] = {0.0f, std::nanf(""), 0x1p-107f, 0x1.8p-120f, 0x1p-126f, 2.0f, 0x1p+100f};
    for (std::size_t tokens : {1, 2, 5, 19}) {
        const Shape s{21, small_blocks() ? 480u : 768u, tokens};
        for (Scales weights : {Scales::usual, Scales::any_bits}) {
            Product p(GetParam().dtype, s);
            p.fill(weights, rng_);
            p.change_scales(rng_, [&] { return rng_() % 3 ? 0.25f : scales[rng_() % std::size(scales)]; });
            EXPECT_TRUE(same(p.run(kernel_), p.run(ref_))) << "tokens " << tokens;
        }
        // All tiny: sums far below the smallest normal number.
        Product p(GetParam().dtype, s);
        p.fill(Scales::usual, rng_);
        p.change_scales(rng_, [&] { return 0x1.4p-140f; });
        EXPECT_TRUE(same(p.run(kernel_), p.run(ref_))) << "tokens " << tokens;
    }
}

TEST_P(MatmulQuant, PartsOfTheWorkGiveTheSameBits) {
    const Shape s{61, small_blocks() ? 416u : 1280u, 23};
    Product p(GetParam().dtype, s);
    p.fill(Scales::usual, rng_);
    const std::vector<float> whole = p.run(kernel_);
    for (int turn = 0; turn < 6; ++turn) {
        std::vector<float> parts(whole.size());
        for (std::size_t t = 0; t < s.tokens;) {
            const std::size_t tokens = std::min<std::size_t>(s.tokens - t, 1 + rng_() % (turn < 3 ? 3 : 20));
            for (std::size_t r = 0; r < s.rows;) {
                const std::size_t rows = std::min<std::size_t>(s.rows - r, 1 + rng_() % 40);
                const std::vector<float> part = p.run(kernel_, r, rows, t, tokens);
                for (std::size_t i = 0; i < tokens; ++i)
                    std::copy_n(part.begin() + static_cast<std::ptrdiff_t>(i * rows), rows,
                                parts.begin() + static_cast<std::ptrdiff_t>((t + i) * s.rows + r));
                r += rows;
            }
            t += tokens;
        }
        EXPECT_TRUE(same(parts, whole)) << "turn " << turn;
    }
}

INSTANTIATE_TEST_SUITE_P(Isas, MatmulQuant, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& i) {
                             return i.param.isa + "_" + to_string(i.param.dtype);
                         });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(MatmulQuant);

// The comparer itself: a wrong bit is seen, NaNs are equal, signs of zero are not.
TEST(MatmulQuantComparer, SeesABit) {
    const float one = 1.0f, next = std::nextafter(1.0f, 2.0f), nan = std::nanf("");
    EXPECT_TRUE(same({one, nan}, {one, -nan}));
    EXPECT_FALSE(same({one}, {next}));
    EXPECT_FALSE(same({0.0f}, {-0.0f}));
    EXPECT_FALSE(same({one}, {nan}));
    EXPECT_FALSE(same({one}, {one, one}));
}

}  // namespace
}  // namespace tern::kernels
