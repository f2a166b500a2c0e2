#include "backend/vulkan/kv.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/formats/half.h"
#include "kernels/kernel.h"

namespace tern::backend::vulkan {

namespace {

constexpr bool has_blocks(KvType type) {
    return type == KvType::q8_0 || type == KvType::q4_0;
}

}  // namespace

std::uint32_t kv_words(KvType type, std::uint32_t dim) noexcept {
    const std::uint32_t in_word = type == KvType::f32    ? 1
                                  : type == KvType::f16  ? 2
                                  : type == KvType::q8_0 ? 4
                                                         : 8;
    return (dim + in_word - 1) / in_word;
}
std::uint32_t kv_scale_words(KvType type, std::uint32_t dim) noexcept {
    return has_blocks(type) ? (dim + 63) / 64 : 0;
}
std::uint32_t kv_parts(KvType type, std::uint32_t dim) noexcept {
    return has_blocks(type) ? kv_scale_words(type, dim) : kv_words(type, dim);
}
std::uint32_t kv_units(KvType type, std::uint32_t dim) noexcept {
    return has_blocks(type) ? (dim + 3) / 4 : kv_words(type, dim);
}
const char* kv_variant(KvType type) noexcept {
    return type == KvType::f32 ? "F32" : type == KvType::f16 ? "F16" : type == KvType::q8_0 ? "Q8_0" : "Q4_0";
}

namespace {

// Layer -> slot, and the bytes of each slot's page.
struct Slots {
    std::vector<std::uint32_t> of_layer;
    std::vector<std::uint64_t> page_bytes;
};
Slots slots_of(const graph::Graph& graph, const KvGroups& groups, KvType type) {
    Slots slots;
    std::vector<std::uint32_t> filled(groups.count(), 0);
    for (std::size_t i = 0; i < graph.kv_layers().size(); ++i) {
        const graph::KvLayer& layer = graph.kv_layers()[i];
        const std::uint32_t slot = filled[groups.of_layer[i]]++;
        if (slot >= slots.page_bytes.size()) slots.page_bytes.push_back(0);
        slots.of_layer.push_back(slot);
        std::uint64_t words = 0;
        for (const std::uint32_t dim : {layer.k_dim, layer.v_dim})
            words += kv_words(type, dim) + kv_scale_words(type, dim);
        slots.page_bytes[slot] =
            std::max(slots.page_bytes[slot], words * 4 * kernels::kPageTokens * layer.heads);
    }
    return slots;
}

}  // namespace

std::uint64_t VulkanKv::page_bytes(const graph::Graph& graph, const KvGroups& groups, KvType type) {
    std::uint64_t sum = 0;
    for (const std::uint64_t bytes : slots_of(graph, groups, type).page_bytes) sum += bytes;
    return sum;
}

PageLimit VulkanKv::page_limit(const DeviceInfo& device, const graph::Graph& graph, const KvGroups& groups,
                               KvType type) {
    PageLimit limit;
    std::uint64_t largest = 0;
    for (const std::uint64_t bytes : slots_of(graph, groups, type).page_bytes)
        largest = std::max(largest, bytes);
    if (largest == 0) return limit;
    const bool binding = device.max_binding <= device.max_allocation;
    const std::uint64_t most = std::min(device.max_binding, device.max_allocation);
    limit.pages = most / largest;
    limit.why =
        fmt::format("{}: {} no more than {:.1f} MiB of a layer's KV cache", device.name,
                    binding ? "a shader sees" : "one allocation holds", static_cast<double>(most) / MiB);
    return limit;
}

VulkanKv::VulkanKv(std::shared_ptr<Device> device, const graph::Graph& graph, const KvGroups& groups,
                   KvType type, std::uint32_t pages)
    : device_(std::move(device)),
      graph_(graph),
      type_(type),
      pages_(pages),
      groups_(groups),
      serial_(device_->new_serial()) {
    Slots slots = slots_of(graph, groups, type);
    slot_ = std::move(slots.of_layer);
    for (const std::uint64_t bytes : slots.page_bytes) slots_.push_back({bytes, {}});
    if (const PageLimit limit = page_limit(device_->info(), graph, groups, type); pages > limit.pages)
        throw Error(
            ErrorCode::out_of_memory,
            fmt::format("{}, which {} pages exceed; a smaller context or fewer sequences would need less",
                        limit.why, pages));
    for (Slot& slot : slots_) {
        const std::uint64_t bytes = slot.page_bytes * pages;
        slot.buffer = device_->allocate(bytes, Memory::device, "the KV cache");
        page_bytes_ += slot.page_bytes;
    }
}

void VulkanKv::copy_page(std::uint32_t from, std::uint32_t to) {
    device_->run_once([&](VkCommandBuffer commands) {
        for (const Slot& slot : slots_) {
            const std::uint64_t base = slot.buffer.range().offset;
            const VkBufferCopy copy{base + from * slot.page_bytes, base + to * slot.page_bytes,
                                    slot.page_bytes};
            device_->api().CmdCopyBuffer(commands, slot.buffer.handle(), slot.buffer.handle(), 1, &copy);
        }
    });
}

void VulkanKv::read_page(std::uint32_t page, std::span<std::byte> to) const {
    for (const Slot& slot : slots_) {
        device_->download(slot.buffer, page * slot.page_bytes, to.first(slot.page_bytes));
        to = to.subspan(slot.page_bytes);
    }
}

void VulkanKv::write_page(std::uint32_t page, std::span<const std::byte> from) {
    for (const Slot& slot : slots_) {
        device_->upload(slot.buffer, page * slot.page_bytes, from.first(slot.page_bytes));
        from = from.subspan(slot.page_bytes);
    }
}

bool VulkanKv::can_move() const noexcept {
    for (const graph::KvLayer& layer : graph_.kv_layers())
        if (layer.rope < 0 || layer.window != 0) return false;
    return true;
}

namespace {

// One key or value of a page: the words w, each `step` words from the next, and those of its scales.
struct Stored {
    std::uint32_t *words, *scales;
    std::uint32_t step;

    std::uint16_t scale(std::uint32_t block) const noexcept {
        return static_cast<std::uint16_t>(scales[block / 2 * step] >> (16 * (block % 2)));
    }
};

void read_key(KvType type, const Stored& from, std::uint32_t dim, float* key) {
    for (std::uint32_t d = 0; d < dim; ++d) {
        const std::uint32_t in_word = type == KvType::f32    ? 1
                                      : type == KvType::f16  ? 2
                                      : type == KvType::q8_0 ? 4
                                                             : 8;
        const std::uint32_t word = from.words[d / in_word * from.step] >> (d % in_word * (32 / in_word));
        if (type == KvType::f32)
            key[d] = std::bit_cast<float>(word);
        else if (type == KvType::f16)
            key[d] = kernels::f16_to_f32(static_cast<std::uint16_t>(word));
        else
            key[d] = kernels::f16_to_f32(from.scale(d / kernels::kKvBlock)) *
                     static_cast<float>(type == KvType::q8_0 ? static_cast<std::int8_t>(word)
                                                             : static_cast<int>(word & 15) - 8);
    }
}

// As the reference stores it (docs/numerics.md, "Attention"): position 0 of a page of its own, in the host's
// order.
void write_key(KvType type, const Stored& to, std::uint32_t dim, const float* key,
               std::vector<std::byte>& page) {
    constexpr std::uint32_t kPage = kernels::kPageTokens, kBlock = kernels::kKvBlock;
    if (type == KvType::f32 || type == KvType::f16) {
        for (std::uint32_t w = 0; w < kv_words(type, dim); ++w)
            to.words[w * to.step] =
                type == KvType::f32
                    ? std::bit_cast<std::uint32_t>(key[w])
                    : std::uint32_t{kernels::f32_to_f16(key[2 * w])} |
                          (2 * w + 1 < dim ? std::uint32_t{kernels::f32_to_f16(key[2 * w + 1])} << 16 : 0);
        return;
    }
    const kernels::KvType kind = type == KvType::q8_0 ? kernels::KvType::q8_0 : kernels::KvType::q4_0;
    const kernels::KvLayout at = kernels::kv_layout(kind, dim, 0);
    page.resize(at.bytes);
    kernels::table_ref().kv_store(page.data(), kind, dim, 0, 0, key, nullptr);
    const std::uint32_t bits = type == KvType::q8_0 ? 8 : 4, none = type == KvType::q8_0 ? 0 : 8;
    for (std::uint32_t w = 0; w < kv_words(type, dim); ++w) {
        std::uint32_t word = 0;
        for (std::uint32_t i = 0, d = w * (32 / bits); i < 32 / bits; ++i, ++d) {
            std::uint32_t code = none;
            if (d < dim)
                code = type == KvType::q8_0
                           ? std::to_integer<std::uint32_t>(page[d * kPage])
                           : std::to_integer<std::uint32_t>(page[d / 2 * kPage]) >> (d % 2 * 4) & 15;
            word |= code << (i * bits);
        }
        to.words[w * to.step] = word;
    }
    for (std::uint32_t b = 0; b * kBlock < dim; b += 2) {
        std::uint16_t scales[2] = {};
        for (std::uint32_t i = 0; i < 2 && (b + i) * kBlock < dim; ++i)
            std::memcpy(&scales[i], page.data() + at.k_scales + std::size_t{b + i} * kPage * 2, 2);
        to.scales[b / 2 * to.step] = scales[0] | std::uint32_t{scales[1]} << 16;
    }
}

}  // namespace

// On the host: this happens once in half a context.
void VulkanKv::move(std::span<const std::uint32_t> table, std::uint32_t from, std::uint32_t to,
                    std::uint32_t count) {
    constexpr std::uint32_t kPage = kernels::kPageTokens;
    const std::uint32_t first_block = to / kPage, end_block = (from + count + kPage - 1) / kPage,
                        written_blocks = (to + count + kPage - 1) / kPage;
    std::vector<std::uint32_t> words;
    std::vector<float> key, angles;
    std::vector<std::byte> stored;
    for (std::uint32_t l = 0; l < graph_.kv_layers().size(); ++l) {
        const graph::KvLayer& layer = graph_.kv_layers()[l];
        const graph::Rope& rope = graph_.ropes()[static_cast<std::size_t>(layer.rope)];
        const std::size_t half = rope.inv_freq.size();
        angles.resize(2 * half);
        // The keys were multiplied by the rope's factor when they were first rotated; it is not applied
        // again.
        kernels::rope_table(rope.inv_freq.data(), half, -static_cast<double>(from - to), 1.0f, angles.data(),
                            angles.data() + half);
        const Slot& slot = slots_[slot_[l]];
        const std::size_t page = page_words(l);
        words.resize(page * (end_block - first_block));
        const auto page_at = [&](std::uint32_t block) {
            return table[block * groups_.count() + groups_.of_layer[l]] * slot.page_bytes;
        };
        const auto bytes_of = [&](std::uint32_t block) {
            return std::as_writable_bytes(std::span(words).subspan((block - first_block) * page, page));
        };
        for (std::uint32_t b = first_block; b < end_block; ++b)
            device_->download(slot.buffer, page_at(b), bytes_of(b));
        const std::uint32_t kw = kv_words(type_, layer.k_dim), ks = kv_scale_words(type_, layer.k_dim);
        const std::uint32_t vw = kv_words(type_, layer.v_dim), vs = kv_scale_words(type_, layer.v_dim);
        key.resize(layer.k_dim);
        for (std::uint32_t h = 0; h < layer.heads; ++h)
            for (std::uint32_t i = 0; i < count; ++i) {
                const auto head = [&](std::uint32_t position) {
                    return words.data() + (position / kPage - first_block) * page +
                           std::size_t{h} * kPage * (kw + ks + vw + vs);
                };
                const auto key_at = [&](std::uint32_t position) {
                    std::uint32_t* at = head(position) + position % kPage;
                    return Stored{at, at + kw * kPage, kPage};
                };
                read_key(type_, key_at(from + i), layer.k_dim, key.data());
                kernels::table_ref().rope(key.data(), 1, layer.k_dim, half * 2, angles.data(),
                                          angles.data() + half, rope.mode);
                write_key(type_, key_at(to + i), layer.k_dim, key.data(), stored);
                const auto value_at = [&](std::uint32_t position) {
                    std::uint32_t* values = head(position) + kPage * (kw + ks);
                    return Stored{values + position % kPage * vw, values + kPage * vw + position % kPage * vs,
                                  1};
                };
                const Stored old = value_at(from + i), next = value_at(to + i);
                std::copy_n(old.words, vw, next.words);
                std::copy_n(old.scales, vs, next.scales);
            }
        for (std::uint32_t b = first_block; b < written_blocks; ++b)
            device_->upload(slot.buffer, page_at(b), bytes_of(b));
    }
}

}  // namespace tern::backend::vulkan
