// Looks for numbers in weights that are none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <tern/dtype.h>

namespace tern::models {

struct Scan {
    std::uint64_t bad = 0;    // blocks that decode to a NaN or an infinity
    std::uint64_t first = 0;  // the first of them
    bool operator==(const Scan&) const = default;
};

// Whole blocks of the format. A quantised block is as good as its scales, so only these are looked at; float formats
// have blocks of one element.
Scan scan_blocks(DType dtype, std::span<const std::byte> blocks) noexcept;

}  // namespace tern::models
