#include "backend/vulkan/weights.h"

#include <fmt/format.h>
#include <tern/dtype.h>

#include <algorithm>
#include <cstring>

#include "backend/vulkan/shaders.h"
#include "kernels/formats/iq_grids.h"

namespace tern::backend::vulkan {
namespace {

std::span<const std::uint32_t> parts_of(DType dtype) noexcept {
    for (const FormatParts& f : all_format_parts())
        if (f.name == info(dtype).name) return f.parts;
    return {};
}

template <std::size_t Count>
std::vector<std::uint32_t> values_of(const std::int8_t (&grid)[Count][4]) {
    std::vector<std::uint32_t> words;
    for (const auto& entry : grid) {
        std::uint32_t word = 0;
        for (unsigned j = 0; j < 4; ++j)
            word |= std::uint32_t{static_cast<std::uint8_t>(entry[j])} << (8 * j);
        words.push_back(word);
    }
    return words;
}

// The values ascend with the digits by about `step`.
template <std::size_t Count>
std::vector<std::uint32_t> digits_of(const std::int8_t (&grid)[Count][8], int first, int step) {
    std::vector<std::uint32_t> words;
    for (const auto& entry : grid) {
        std::uint32_t word = 0;
        for (unsigned j = 0; j < 8; ++j)
            word |= static_cast<std::uint32_t>((entry[j] - first) / step) << (8 * (j % 4) + j / 4 * 4);
        words.push_back(word);
    }
    return words;
}

// Empty for a format without one.
std::vector<std::uint32_t> codebook(DType dtype) {
    const kernels::IqGrids& grids = kernels::kIqGrids;
    switch (dtype) {
        case DType::IQ1_S:
        case DType::IQ1_M:
            return digits_of(grids.iq1, -1, 1);
        case DType::IQ2_XXS:
            return digits_of(grids.iq2_xxs, 8, 17);
        case DType::IQ2_XS:
            return digits_of(grids.iq2_xs, 8, 17);
        case DType::IQ2_S:
            return digits_of(grids.iq2_s, 8, 17);
        case DType::IQ3_XXS:
            return values_of(grids.iq3_xxs);
        case DType::IQ3_S:
            return values_of(grids.iq3_s);
        default:
            return {};
    }
}

constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t to) {
    return (n + to - 1) / to * to;
}

}  // namespace

std::uint64_t device_row_words(DType dtype, std::uint64_t cols) noexcept {
    std::uint64_t words = 0;
    const std::uint64_t blocks = cols / info(dtype).block;
    for (const std::uint32_t part : parts_of(dtype)) words += (blocks * part + 15) / 16 * 4;
    return words;
}

std::uint64_t device_bytes(const graph::Weight& w) {
    return (w.slabs * round_up(w.rows, kGroupRows) * device_row_words(w.dtype, w.cols) +
            codebook(w.dtype).size()) *
           4;
}

std::uint64_t piece_rows(const DeviceInfo& device, const graph::Weight& w) {
    const std::uint64_t grain = w.slabs > 1 ? round_up(w.rows, kGroupRows) : kGroupRows;
    const std::uint64_t limit = std::min(device.max_binding, device.max_allocation);
    const std::uint64_t table_bytes = codebook(w.dtype).size() * 4;
    return (limit - std::min(limit, table_bytes)) / (device_row_words(w.dtype, w.cols) * 4) / grain * grain;
}

DeviceWeight::DeviceWeight(Device& device, const graph::Weight& w,
                           const std::function<void(std::uint64_t)>& copied)
    : padded_(round_up(w.rows, kGroupRows)) {
    const std::span<const std::uint32_t> parts = parts_of(w.dtype);
    const std::uint64_t words = device_row_words(w.dtype, w.cols), blocks = w.cols / info(w.dtype).block;
    const std::uint64_t block_bytes = info(w.dtype).block_bytes;
    const std::uint64_t group_bytes = words * kGroupRows * 4;
    const std::vector<std::uint32_t> table = codebook(w.dtype);
    const std::uint64_t table_bytes = table.size() * 4;
    const std::uint64_t fitting = piece_rows(device.info(), w);
    if (fitting == 0)
        throw Error(ErrorCode::internal,
                    fmt::format("backend 'vulkan': '{}' was to be cut into pieces of no rows", w.name));
    const std::uint64_t all = w.slabs * padded_;
    std::vector<std::uint32_t> row(words);
    for (std::uint64_t first = 0; first < all; first += fitting) {
        Slab slab{{}, first, std::min(fitting, all - first)};
        const std::uint64_t bytes = slab.rows * words * 4;
        slab.buffer =
            device.allocate(bytes + table_bytes, Memory::device, fmt::format("weights ('{}')", w.name));
        device.upload(
            slab.buffer, 0, bytes, group_bytes, [&](std::uint64_t begin, std::span<std::byte> piece) {
                for (std::uint64_t at = 0; at < piece.size(); at += group_bytes) {
                    const std::uint64_t group_row = first + (begin + at) / (words * 4);
                    auto* to = reinterpret_cast<std::uint32_t*>(piece.data() + at);
                    for (std::uint64_t lane = 0; lane < kGroupRows; ++lane) {
                        const std::uint64_t expert = (group_row + lane) / padded_,
                                            r = (group_row + lane) % padded_;
                        if (r >= w.rows) {
                            for (std::uint64_t i = 0; i < words; i += 4)
                                std::memset(to + i * kGroupRows + lane * 4, 0, 16);
                            continue;
                        }
                        const std::byte* from =
                            static_cast<const std::byte*>(w.data) + (expert * w.rows + r) * w.row_bytes();
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
                        for (std::uint64_t i = 0; i < words; i += 4)
                            std::memcpy(to + i * kGroupRows + lane * 4, &row[i], 16);
                    }
                }
                if (copied) copied(piece.size());
            });
        if (!table.empty()) {
            device.upload(slab.buffer, bytes, std::as_bytes(std::span(table)));
            if (copied) copied(table_bytes);
        }
        bytes_ += bytes + table_bytes;
        slabs_.push_back(std::move(slab));
    }
}

}  // namespace tern::backend::vulkan
