// Quantising activations: every instruction set against the reference, the reference against an oracle in integers and
// double.
#include "tests/kernels/kernel_test.h"

namespace tern::kernels {
namespace {

using namespace test;
using Blocks = Guarded<ActBlock>;

testing::AssertionResult same_block(const ActBlock& a, const ActBlock& b, bool per_256) {
    if (std::memcmp(a.q, b.q, sizeof a.q) != 0) return testing::AssertionFailure() << "q differs";
    if (per_256) {
        if (!same_bits(a.k.d, b.k.d)) return testing::AssertionFailure() << "d " << a.k.d << " " << b.k.d;
        if (std::memcmp(a.k.sum32, b.k.sum32, sizeof a.k.sum32) != 0)
            return testing::AssertionFailure() << "sum32 differs";
        if (std::memcmp(a.k.sum16, b.k.sum16, sizeof a.k.sum16) != 0)
            return testing::AssertionFailure() << "sum16 differs";
        return testing::AssertionSuccess();
    }
    for (std::size_t i = 0; i < 8; ++i) {
        if (!same_bits(a.b.d[i], b.b.d[i])) return testing::AssertionFailure() << "d[" << i << "]";
        if (a.b.sum[i] != b.b.sum[i]) return testing::AssertionFailure() << "sum[" << i << "]";
    }
    return testing::AssertionSuccess();
}

void run(const KernelTable& t, bool per_256, const Floats& x, Blocks& out, std::size_t stride) {
    (per_256 ? t.quantize_q8_256 : t.quantize_q8_32)(x.data(), x.size(), out.data(), stride);
}

// One group of n values, from the definition.
void oracle(const float* x, std::size_t n, float& d, std::int8_t* q) {
    float amax = 0;
    bool finite = true;
    for (std::size_t i = 0; i < n; ++i) {
        finite = finite && std::isfinite(x[i]);
        amax = std::max(amax, std::fabs(x[i]));
    }
    std::memset(q, 0, n);
    d = finite ? 0.0f : std::nanf("");
    if (!finite || amax < 0x1p-100f) return;
    d = amax / 127.0f;
    const float inverse = 127.0f / amax;
    for (std::size_t i = 0; i < n; ++i)
        q[i] = static_cast<std::int8_t>(std::clamp(std::nearbyint(x[i] * inverse), -127.0f, 127.0f));
}

Floats input(std::size_t n, int turn, Rng& rng) {
    Floats x = random_floats(n, kAllValues[turn % 3], rng);
    const float special[] = {std::nanf(""), -std::nanf(""), HUGE_VALF, -HUGE_VALF, 3.4e38f, 0x1p-149f, -0.0f};
    if (turn % 5 == 4) x[rng() % n] = special[rng() % 7];
    if (turn % 7 == 6)
        for (std::size_t i = n / 2; i < n; ++i) x[i] = turn % 2 ? 0.0f : x[i] * 0x1p-99f;
    if (turn % 11 == 10)  // values that hit ties
        for (std::size_t i = 0; i < n; ++i) x[i] = (static_cast<float>(rng() % 255) - 127.0f) * 0.5f;
    if (turn % 13 == 12)
        for (std::size_t i = 0; i < n; ++i) x[i] = rng() % 2 ? 0x1p-100f : std::nextafter(0x1p-100f, 0.0f);
    return x;
}

TEST(ReferenceQuantize, EqualsTheOracle) {
    Rng rng(11);
    for (int turn = 0; turn < 600; ++turn)
        for (bool per_256 : {true, false}) {
            const std::size_t n = per_256 ? 256 * (1 + rng() % 3) : 32 * (1 + rng() % 20);
            const Floats x = input(n, turn, rng);
            const std::size_t count = (n + 255) / 256, stride = 1 + rng() % 3;
            Blocks out((count - 1) * stride + 1, 64);
            std::memset(static_cast<void*>(out.data()), 0x55, out.size() * sizeof(ActBlock));
            run(table_ref(), per_256, x, out, stride);
            for (std::size_t b = 0; b < count; ++b) {
                ActBlock want{};
                const std::size_t in_block = std::min<std::size_t>(256, n - b * 256);
                if (per_256) {
                    oracle(x.data() + b * 256, 256, want.k.d, want.q);
                    for (std::size_t i = 0; i < 256; ++i) {
                        want.k.sum16[i / 16] = static_cast<std::int16_t>(want.k.sum16[i / 16] + want.q[i]);
                        want.k.sum32[i / 32] = static_cast<std::int16_t>(want.k.sum32[i / 32] + want.q[i]);
                    }
                } else {
                    for (std::size_t g = 0; g < in_block / 32; ++g)
                        oracle(x.data() + b * 256 + g * 32, 32, want.b.d[g], want.q + g * 32);
                    for (std::size_t i = 0; i < 256; ++i)
                        want.b.sum[i / 32] = static_cast<std::int16_t>(want.b.sum[i / 32] + want.q[i]);
                }
                ASSERT_TRUE(same_block(out[b * stride], want, per_256)) << "turn " << turn << " block " << b;
            }
        }
}

// The round trip is wrong by at most half a step, plus the roundings of x * inverse.
TEST(ReferenceQuantize, HalfAStep) {
    Rng rng(12);
    const Floats x = random_floats(256, Values::usual, rng);
    Blocks out(1, 64);
    run(table_ref(), true, x, out, 1);
    for (std::size_t i = 0; i < 256; ++i)
        EXPECT_LE(std::fabs(static_cast<double>(out[0].k.d) * out[0].q[i] - x[i]), out[0].k.d * (0.5 + 1e-4));
}

class Quantize : public PerIsa {};

TEST_P(Quantize, EqualsTheReference) {
    Rng rng(13);
    for (int turn = 0; turn < 2000; ++turn)
        for (bool per_256 : {true, false}) {
            const std::size_t n = per_256 ? 256 * (1 + rng() % 4) : 32 * (1 + rng() % 30);
            const Floats x = input(n, turn, rng);
            const std::size_t count = (n + 255) / 256, stride = 1 + rng() % 3;
            Blocks want((count - 1) * stride + 1, 64), got((count - 1) * stride + 1, 64);
            std::memset(static_cast<void*>(got.data()), 0xaa, got.size() * sizeof(ActBlock));
            std::memset(static_cast<void*>(want.data()), 0xaa, want.size() * sizeof(ActBlock));
            run(ref_, per_256, x, want, stride);
            run(table_, per_256, x, got, stride);
            for (std::size_t b = 0; b < count; ++b)
                ASSERT_TRUE(same_block(got[b * stride], want[b * stride], per_256)) << "turn " << turn;
            for (std::size_t b = 0; b < want.size(); ++b)
                if (b % stride != 0) {
                    ASSERT_EQ(std::memcmp(&got[b], &want[b], sizeof(ActBlock)), 0) << "wrote a gap";
                }
        }
}
TERN_FOR_FAST_ISAS(Quantize);

}  // namespace
}  // namespace tern::kernels
