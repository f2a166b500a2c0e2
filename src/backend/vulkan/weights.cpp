#include "backend/vulkan/weights.h"

#include <fmt/format.h>
#include <tern/dtype.h>

#include <algorithm>
#include <cstring>

#include "backend/vulkan/shaders.h"

namespace tern::backend::vulkan {
namespace {

std::span<const std::uint32_t> parts_of(DType dtype) noexcept {
    for (const FormatParts& f : all_format_parts())
        if (f.name == info(dtype).name) return f.parts;
    return {};
}

constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t to) { return (n + to - 1) / to * to; }

}  // namespace

std::uint64_t device_row_words(DType dtype, std::uint64_t cols) noexcept {
    std::uint64_t words = 0;
    const std::uint64_t blocks = cols / info(dtype).block;
    for (const std::uint32_t part : parts_of(dtype)) words += (blocks * part + 15) / 16 * 4;
    return words;
}

std::uint64_t device_bytes(const graph::Weight& w) noexcept {
    return w.slabs * round_up(w.rows, kGroupRows) * device_row_words(w.dtype, w.cols) * 4;
}

DeviceWeight::DeviceWeight(Device& device, const graph::Weight& w) : padded_(round_up(w.rows, kGroupRows)) {
    const std::span<const std::uint32_t> parts = parts_of(w.dtype);
    const std::uint64_t words = device_row_words(w.dtype, w.cols), blocks = w.cols / info(w.dtype).block;
    const std::uint64_t block_bytes = info(w.dtype).block_bytes;
    const std::uint64_t group_bytes = words * kGroupRows * 4;
    // What is cut off at once: experts whole, as a shader finds them by their number.
    const std::uint64_t grain = w.slabs > 1 ? padded_ : kGroupRows;
    const std::uint64_t limit = std::min(device.info().max_binding, device.info().max_allocation);
    const std::uint64_t fitting = limit / (words * 4) / grain * grain;
    if (fitting == 0)
        throw Error(ErrorCode::unsupported,
                    fmt::format("{}: '{}' cannot be cut into pieces of the {} MiB that a shader of this device sees",
                                device.info().name, w.name, limit >> 20));
    const std::uint64_t all = w.slabs * padded_;
    std::vector<std::uint32_t> row(words);
    for (std::uint64_t first = 0; first < all; first += fitting) {
        Slab slab{{}, first, std::min(fitting, all - first)};
        const std::uint64_t bytes = slab.rows * words * 4;
        slab.buffer = device.allocate(bytes, Memory::device, fmt::format("weights ('{}')", w.name));
        device.upload(slab.buffer, 0, bytes, group_bytes, [&](std::uint64_t begin, std::span<std::byte> piece) {
            for (std::uint64_t at = 0; at < piece.size(); at += group_bytes) {
                const std::uint64_t group_row = first + (begin + at) / (words * 4);
                auto* to = reinterpret_cast<std::uint32_t*>(piece.data() + at);
                for (std::uint64_t lane = 0; lane < kGroupRows; ++lane) {
                    const std::uint64_t expert = (group_row + lane) / padded_, r = (group_row + lane) % padded_;
                    if (r >= w.rows) {
                        for (std::uint64_t i = 0; i < words; i += 4) std::memset(to + i * kGroupRows + lane * 4, 0, 16);
                        continue;
                    }
                    const std::byte* from = static_cast<const std::byte*>(w.data) + (expert * w.rows + r) * w.row_bytes();
                    auto* part_to = reinterpret_cast<std::byte*>(row.data());
                    std::uint64_t offset = 0;
                    for (const std::uint32_t part : parts) {
                        const std::uint64_t whole = (blocks * part + 15) / 16 * 16;
                        if (part == block_bytes) {
                            std::memcpy(part_to, from, blocks * part);
                        } else {
                            for (std::uint64_t b = 0; b < blocks; ++b)
                                std::memcpy(part_to + b * part, from + b * block_bytes + offset, part);
                        }
                        std::memset(part_to + blocks * part, 0, whole - blocks * part);
                        part_to += whole;
                        offset += part;
                    }
                    for (std::uint64_t i = 0; i < words; i += 4) std::memcpy(to + i * kGroupRows + lane * 4, &row[i], 16);
                }
            }
        });
        bytes_ += bytes;
        slabs_.push_back(std::move(slab));
    }
}

}  // namespace tern::backend::vulkan
