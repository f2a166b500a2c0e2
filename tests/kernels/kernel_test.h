// Shared by the kernels' tests: instruction sets to test, memory that ends at a fault, inputs, comparers.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu.h"
#include "kernels/kernel.h"
#include "kernels/registry.h"

namespace tern::kernels::test {

// n elements; the byte after the last one faults. Aligned to the element only, unless kAlign asks for more.
template <class T>
class Guarded {
public:
    explicit Guarded(std::size_t n, std::size_t align = alignof(T)) : n_(n) {
        const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        const std::size_t bytes = (n * sizeof(T) + align - 1) / align * align;
        const std::size_t body = (bytes + page - 1) / page * page;
        size_ = body + 2 * page;
        base_ = static_cast<std::uint8_t*>(
            mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (base_ == MAP_FAILED) throw std::bad_alloc();
        mprotect(base_, page, PROT_NONE);
        mprotect(base_ + page + body, page, PROT_NONE);
        data_ = reinterpret_cast<T*>(base_ + page + body - bytes);
    }
    Guarded(const std::vector<T>& values) : Guarded(values.size()) {
        std::copy(values.begin(), values.end(), data_);
    }
    Guarded(const Guarded& other) : Guarded(other.n_) { std::copy(other.begin(), other.end(), data_); }
    Guarded& operator=(const Guarded&) = delete;
    ~Guarded() { munmap(base_, size_); }

    T* data() { return data_; }
    const T* data() const { return data_; }
    std::size_t size() const { return n_; }
    const T* begin() const { return data_; }
    const T* end() const { return data_ + n_; }
    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }

private:
    std::size_t n_;
    std::size_t size_ = 0;
    std::uint8_t* base_ = nullptr;
    T* data_ = nullptr;
};

using Floats = Guarded<float>;

// Same bits, or both NaN.
inline bool same_bits(float a, float b) {
    return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

inline testing::AssertionResult same(const float* got, const float* want, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i)
        if (!same_bits(got[i], want[i]))
            return testing::AssertionFailure()
                   << "element " << i << " of " << n << ": got " << std::hexfloat << got[i] << ", want " << want[i];
    return testing::AssertionSuccess();
}
inline testing::AssertionResult same(const Floats& got, const Floats& want) {
    if (got.size() != want.size()) return testing::AssertionFailure() << "sizes differ";
    return same(got.data(), want.data(), got.size());
}

// The distance in units of f32's last place at `want`.
inline double ulps(float got, long double want) {
    if (std::isinf(got) && std::fabs(want) > 0x1.ffffffp127L) return std::signbit(want) == std::signbit(got) ? 0 : 1e30;
    int e = -149;
    if (want != 0) std::frexp(want, &e);
    const long double ulp = std::ldexp(1.0L, std::max(e - 24, -149));
    return static_cast<double>(std::fabs(static_cast<long double>(got) - want) / ulp);
}

using Rng = std::mt19937_64;

enum class Values { usual, wide, hostile };

inline float random_float(Values kind, Rng& rng) {
    const float u = static_cast<float>(static_cast<std::int64_t>(rng() % 2000001) - 1000000) / 250000.0f;
    if (kind == Values::usual) return u;
    if (kind == Values::wide) return std::ldexp(u, static_cast<int>(rng() % 60) - 30);
    switch (rng() % 24) {
        case 0: return 0.0f;
        case 1: return -0.0f;
        case 2: return std::numeric_limits<float>::denorm_min() * static_cast<float>(rng() % 99);
        case 3: return -0x1p-130f;
        case 4: return 0x1p-75f;
        case 5: return -0x1p-76f;
        case 6: return std::ldexp(u, 20);
        default: return u;
    }
}
inline void fill(float* x, std::size_t n, Values kind, Rng& rng) {
    for (std::size_t i = 0; i < n; ++i) x[i] = random_float(kind, rng);
}
inline Floats random_floats(std::size_t n, Values kind, Rng& rng) {
    Floats x(n);
    fill(x.data(), n, kind, rng);
    return x;
}
inline constexpr Values kAllValues[] = {Values::usual, Values::wide, Values::hostile};

// The usable instruction sets but the reference; a test parameter.
inline std::vector<std::string> fast_isas() {
    std::vector<std::string> names;
    const IsaList list = isas(detect_cpu());
    for (std::size_t i = 0; i < list.count; ++i)
        if (list.items[i].usable && std::string_view(list.items[i].name) != "scalar")
            names.emplace_back(list.items[i].name);
    return names;
}
inline std::vector<std::string> usable_isas() {
    std::vector<std::string> names = fast_isas();
    names.insert(names.begin(), "scalar");
    return names;
}

class PerIsa : public testing::TestWithParam<std::string> {
protected:
    const KernelTable& ref_ = table_ref();
    const KernelTable table_ = select(detect_cpu(), GetParam())->table;
};

}  // namespace tern::kernels::test

#define TERN_FOR_FAST_ISAS(suite)                                                                \
    INSTANTIATE_TEST_SUITE_P(Isas, suite, testing::ValuesIn(tern::kernels::test::fast_isas()),   \
                             [](const testing::TestParamInfo<std::string>& i) { return i.param; }); \
    GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(suite)
#define TERN_FOR_ALL_ISAS(suite)                                                                 \
    INSTANTIATE_TEST_SUITE_P(Isas, suite, testing::ValuesIn(tern::kernels::test::usable_isas()), \
                             [](const testing::TestParamInfo<std::string>& i) { return i.param; })
