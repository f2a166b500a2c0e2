// Integer arithmetic that says when it overflows.
#pragma once

#include <concepts>

namespace tern::base {

template <std::integral T>
[[nodiscard]] constexpr bool checked_add(T a, T b, T& out) noexcept {
    return !__builtin_add_overflow(a, b, &out);
}

template <std::integral T>
[[nodiscard]] constexpr bool checked_mul(T a, T b, T& out) noexcept {
    return !__builtin_mul_overflow(a, b, &out);
}

// `alignment` is a power of two.
template <std::unsigned_integral T>
[[nodiscard]] constexpr bool checked_align_up(T value, T alignment, T& out) noexcept {
    if (!checked_add(value, static_cast<T>(alignment - 1), out)) return false;
    out &= ~static_cast<T>(alignment - 1);
    return true;
}

}  // namespace tern::base
