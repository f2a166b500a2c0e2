// Weights of any format for the tests of products.
#pragma once

#include <cmath>

#include "conformance.h"
#include "kernels/formats/format.h"

namespace tern::test {

// Blocks of random bytes, then made sane by decoding and clamping: every format has them.
struct Quantised {
    DType dtype;
    std::uint64_t rows, cols;
    std::vector<std::byte> bytes;
    std::vector<float> exact;

    Quantised(DType d, std::uint64_t r, std::uint64_t c, unsigned seed) : dtype(d), rows(r), cols(c) {
        const DTypeInfo& i = info(d);
        bytes.resize(row_bytes(d, c) * r);
        exact.resize(r * c);
        std::mt19937 random(seed);
        const std::size_t blocks = bytes.size() / i.block_bytes;
        for (std::size_t b = 0; b < blocks; ++b)
            for (bool sane = false; !sane;) {
                for (std::size_t k = 0; k < i.block_bytes; ++k)
                    bytes[b * i.block_bytes + k] = static_cast<std::byte>(random());
                kernels::format_ops(d).decode(bytes.data() + b * i.block_bytes, exact.data() + b * i.block, i.block);
                sane = true;
                for (std::size_t k = 0; k < i.block; ++k) {
                    const float x = exact[b * i.block + k];
                    sane &= std::isfinite(x) && std::abs(x) < 1e3f && (x == 0 || std::abs(x) > 1e-20f);
                }
            }
    }
    graph::Weight weight(std::uint64_t slabs = 1) const {
        return {.data = bytes.data(), .dtype = dtype, .cols = cols, .rows = rows / slabs, .slabs = slabs, .name = "w"};
    }
};

}  // namespace tern::test
