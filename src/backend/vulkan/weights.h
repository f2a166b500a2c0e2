// Weights on the device. Rows lie in groups of 32, one shader lane a row: the four words 4i … of row r of a
// matrix are those at ((r / 32) * row_words / 4 + i) * 128 + r % 32 * 4, so that lanes read neighbouring 16
// bytes. Within a row the parts of the blocks (scales, quants …) lie apart: all first parts, then all second
// ones …, each beginning at a whole multiple of four words; blocks of an odd size (18 bytes) would not give
// whole words otherwise. A last group is filled up with zeros. The rows of each expert begin a group.
//
// A slab of an IQ1, IQ2 or IQ3 format ends with the format's codebook, one word an entry, which shaders find
// from the end of the binding (shaders/codebook.glsl): of a table in a shader some drivers make a copy for
// every lane. An entry of IQ3 is its four values as bytes; one of IQ1 and IQ2 has a digit (0, 1, 2 for the
// ascending values) for element j < 4 in the low half of byte j and for element j + 4 in the high half.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backend/vulkan/device.h"
#include "graph/graph.h"

namespace tern::backend::vulkan {

inline constexpr std::uint32_t kGroupRows = 32;

// Words of a row; 0 where the format has no shader.
std::uint64_t device_row_words(DType dtype, std::uint64_t cols) noexcept;

class DeviceWeight {
public:
    // A piece that one binding can hold: whole groups of rows, of whole experts if there are any.
    struct Slab {
        Buffer buffer;
        std::uint64_t first_row = 0;  // of all experts' (padded) rows
        std::uint64_t rows = 0;
    };
    // `copied` is called with the bytes of each piece, which together are device_bytes(). What it throws
    // gives all back.
    DeviceWeight(Device& device, const graph::Weight& weight,
                 const std::function<void(std::uint64_t)>& copied = {});
    const std::vector<Slab>& slabs() const noexcept { return slabs_; }
    std::uint64_t padded_rows() const noexcept { return padded_; }  // of one expert
    std::uint64_t bytes() const noexcept { return bytes_; }

private:
    std::vector<Slab> slabs_;
    std::uint64_t padded_ = 0, bytes_ = 0;
};

// Rows of a piece: whole groups of 32, or of a weight of experts whole experts, which shaders find by their
// number. 0: it cannot be cut so finely that a shader of this device sees a piece.
std::uint64_t piece_rows(const DeviceInfo& device, const graph::Weight& weight);

// Bytes on the device.
std::uint64_t device_bytes(const graph::Weight& weight);

}  // namespace tern::backend::vulkan
