// Normalised mean square error: the power of the difference over the power of what was expected.
#pragma once

#include <cstddef>
#include <span>

namespace tern::test {

inline double nmse(std::span<const float> got, std::span<const float> expected) {
    double error = 0, power = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const double e = expected[i], d = static_cast<double>(got[i]) - e;
        error += d * d;
        power += e * e;
    }
    return error / power;
}

}  // namespace tern::test
