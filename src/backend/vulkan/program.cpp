#include "backend/vulkan/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <utility>

#include "backend/vulkan/kv.h"
#include "kernels/kernel.h"

namespace tern::backend::vulkan {
namespace {

using graph::Domain;
using graph::Op;
using graph::OpKind;
using graph::Value;
using graph::ValueInfo;

// The batch buffer in words: a header (shaders/common.glsl names its words), then the lists.
constexpr std::uint64_t kHeaderWords = 16;
// Workgroups in one direction that every device takes; a list of more is folded.
constexpr std::uint32_t kMaxGroups = 32768;
// Query tokens of one attention block where sequences have several.
constexpr std::uint32_t kBlockTokens = 4;
constexpr std::uint32_t kMaxExperts = 1024;  // of shaders/ops/group_experts.comp

template <class T>
constexpr T ceil_div(T a, T b) {
    return (a + b - 1) / b;
}

std::uint64_t table_words(const graph::Graph& graph, const Limits& limits) {
    // Each sequence has at least one token in the batch. A part of a graph has the tables of the whole.
    bool windows = false;
    for (const graph::KvLayer& layer : graph.kv_layers()) windows |= layer.window != 0;
    const std::uint64_t most = windows ? graph.kv_layers().size() : 1;  // at most a group for each layer
    const std::uint64_t groups = limits.kv_groups ? limits.kv_groups : most;
    return limits.max_tokens * (limits.max_context / kernels::kPageTokens + 1ull) * groups;
}

std::uint64_t batch_bytes(const graph::Graph& graph, const Limits& limits) {
    return 4 * (kHeaderWords + 6ull * limits.max_tokens + limits.max_outputs + table_words(graph, limits));
}

std::uint64_t angle_bytes(const graph::Graph& graph, const Limits& limits) {
    std::uint64_t floats = 0;
    for (const graph::Rope& rope : graph.ropes())
        floats += std::uint64_t{limits.max_tokens} * rope.inv_freq.size() * 2;
    return floats * 4;
}

graph::Plan plan_values(const graph::Graph& graph, const Limits& limits) {
    std::vector<graph::PhaseRange> phases(graph.ops().size());
    for (std::size_t i = 0; i < phases.size(); ++i) phases[i] = {i, i};
    return graph::plan_buffers(graph, phases, limits.max_tokens, limits.max_outputs);
}

// How many tokens a product without tiles takes at a time; the class of those that tiles take.
constexpr std::uint32_t kFewTokens = 8, kTileTokens = 64;
// From this many on tiles do less work than kFewTokens at a time.
constexpr std::uint32_t kManyTokens = 17;
// Rows and tokens of a tile (shaders/ops/matmul_tiles.comp, matmul_half.comp).
constexpr std::uint32_t tile_of(const ProductPathInfo& path, bool floats) {
    return floats && !path.half ? 32 : 64;
}

// Parts of a workgroup that share the blocks of a row (shaders/ops/matmul.comp, `found`).
std::uint32_t slices_of(const DeviceInfo& device, std::uint32_t sums, bool four_terms) {
    if (device.software) return 1;
    const std::uint32_t terms = four_terms ? 4 : 2, most = 16 / terms;
    const std::uint32_t window = sums >= most ? 1 : most / sums;
    std::uint32_t slices = 8;
    while (slices > 1 && slices * window * sums * terms * 128 > device.shared_bytes) slices /= 2;
    return slices;
}

bool is_product(OpKind kind) {
    return kind == OpKind::linear || kind == OpKind::linear_heads || kind == OpKind::linear_experts;
}

// Bytes that 32 quantised numbers take (shaders/ops/quantize.comp).
std::uint64_t chunk_bytes(Activations form) {
    return form == Activations::packed ? 48 : form == Activations::texels ? 144 : 0;
}

// Bytes of a product's quantised input.
std::uint64_t quantised_bytes(const graph::Graph& graph, const Op& op, Activations form, const Limits& limits) {
    const ValueInfo& in = graph.info(op.in[0]);
    if (form == Activations::half) {
        const std::uint64_t rows = (in.domain == Domain::tokens ? limits.max_tokens : limits.max_outputs) *
                                   std::uint64_t{in.per_row} * (in.cols / op.weight.cols);
        return rows * (ceil_div<std::uint64_t>(op.weight.cols, 32) * 64 + 16);
    }
    return graph::value_bytes(in, limits.max_tokens, limits.max_outputs) / 128 * chunk_bytes(form);
}

// A list of workgroups over two directions (flat_group() in shaders/common.glsl).
std::array<std::uint32_t, 3> folded(std::uint64_t n) {
    const auto wide = static_cast<std::uint32_t>(std::min<std::uint64_t>(n, kMaxGroups));
    return {wide, wide == 0 ? 1 : static_cast<std::uint32_t>(ceil_div<std::uint64_t>(n, wide)), 1};
}

// The largest divisor of n that is at most `most`.
std::uint32_t divisor(std::uint32_t n, std::uint32_t most) {
    for (std::uint32_t d = std::min(n, most); d > 1; --d)
        if (n % d == 0) return d;
    return 1;
}

// Positions for which attention is right. Mesa's llvmpipe ends all loops of an invocation after 65,535 rounds
// together, without a word (LP_MAX_TGSI_LOOP_ITERATIONS of its lp_bld_limits.h). A page's rounds of
// shaders/ops/attention.comp were measured by the context from which on results were wrong: with keys of 8
// numbers 350 to 417, of 64 (q8_0, softcap) 649 to 838.
std::uint64_t most_positions(const DeviceInfo& device, const Op& op) {
    constexpr std::uint64_t kAll = ~std::uint64_t{0}, kRounds = 65535 - 1024;
    if (!device.software || op.kind != OpKind::attention) return kAll;
    const std::uint64_t page_rounds = std::uint64_t{op.attention.k_dim} * 7 + 420;
    const std::uint64_t most = kRounds / page_rounds * kernels::kPageTokens;
    const bool near = op.visibility.window != 0 && op.visibility.window + 2 * kernels::kPageTokens <= most;
    return near ? kAll : most;
}

// Whether the operation's weight is a matrix that the store rearranges.
bool in_blocks(OpKind kind) {
    return kind == OpKind::embed || is_product(kind);
}

Obstacle no_shader(const graph::Weight& w) {
    return {
        ErrorCode::unsupported,
        fmt::format(
            "backend 'vulkan' has no shader for format {} (tensor '{}'); backend 'cpu' has kernels for it",
            info(w.dtype).name, w.name)};
}

// The operation that brings rows from outside; null: none.
const Op* input_of(const graph::Graph& graph) {
    for (const Op& op : graph.ops())
        if (op.kind == OpKind::input) return &op;
    return nullptr;
}

}  // namespace

std::shared_ptr<const DeviceWeight> WeightStore::get(const graph::Weight& w, const Copied& copied) {
    if (device_row_words(w.dtype, w.cols) == 0) throw Error(no_shader(w).code, no_shader(w).text);
    const std::lock_guard lock(device_->mutex());
    std::weak_ptr<const DeviceWeight>& known = known_[{w.data, w.rows * w.slabs, w.cols, w.dtype}];
    if (auto weight = known.lock()) return weight;
    // The device outlives what lies on it.
    struct Kept {
        std::shared_ptr<Device> device;
        DeviceWeight weight;
    };
    auto kept = std::make_shared<Kept>(Kept{device_, DeviceWeight(*device_, w, copied)});
    std::shared_ptr<const DeviceWeight> weight(kept, &kept->weight);
    known = weight;
    return weight;
}

std::shared_ptr<const void> WeightStore::copy(const graph::Graph& graph, const Copied& copied) {
    auto kept = std::make_shared<std::vector<std::shared_ptr<const DeviceWeight>>>();
    try {
        for (const Op& op : graph.ops())
            if (in_blocks(op.kind)) kept->push_back(get(op.weight, copied));
    } catch (...) {
        device_->release_staging();
        throw;
    }
    return kept;
}

WeightBytes WeightStore::bytes(const graph::Graph& graph) {
    const std::lock_guard lock(device_->mutex());
    WeightBytes sum;
    std::map<Key, std::uint64_t> seen;
    for (const Op& op : graph.ops()) {
        const graph::Weight& w = op.weight;
        if (op.bias) sum.all += op.bias.bytes();
        if (!w) continue;
        if (!in_blocks(op.kind)) {
            sum.all += w.bytes();
            continue;
        }
        const Key key{w.data, w.rows * w.slabs, w.cols, w.dtype};
        if (!seen.emplace(key, 0).second) continue;
        const std::uint64_t bytes = device_bytes(w);
        sum.all += bytes;
        const auto there = known_.find(key);
        if (there != known_.end() && !there->second.expired()) sum.there += bytes;
    }
    return sum;
}

// ---- recording

struct VulkanProgram::Dispatch {
    const Device::Pipeline* pipeline = nullptr;
    struct Bound {
        Range range;
        bool reads = false, writes = false;
        VkFormat texel = VK_FORMAT_UNDEFINED;  // of a uniform texel buffer; else it is a storage buffer
    };
    std::vector<Bound> bound;
    std::array<std::uint32_t, kPushBytes / 4> push{};
    std::function<Groups(const Counts&)> groups;
};

struct VulkanProgram::Recording {
    VkCommandBuffer commands = VK_NULL_HANDLE;
    VkDescriptorPool descriptors = VK_NULL_HANDLE;
    std::vector<VkBufferView> views;
    Buffer sizes;  // of the dispatches: three words each
    std::vector<Dispatch> dispatches;
};

// Collects dispatches, then writes their descriptors and commands, with a barrier wherever one touches what
// an earlier one wrote, or writes what an earlier one reads.
class VulkanProgram::Recorder {
public:
    Recorder(Device& device, Recording& recording) : device_(device), recording_(recording) {}

    class Builder {
    public:
        Builder(Recorder& recorder, Range batch) : recorder_(recorder) { reads(batch); }
        Builder& reads(Range r) { return bind(r, true, false); }
        Builder& fetches(Range r, VkFormat texel) {
            bind(r, true, false);
            dispatch_.bound.back().texel = texel;
            return *this;
        }
        Builder& writes(Range r) { return bind(r, false, true); }
        Builder& changes(Range r) { return bind(r, true, true); }
        template <class... T>
        Builder& push(T... values) {
            std::size_t i = 0;
            ((dispatch_.push[i++] = std::bit_cast<std::uint32_t>(values)), ...);
            return *this;
        }
        void run(const std::string& shader, const std::vector<std::uint32_t>& constants,
                 std::function<Groups(const Counts&)> groups) {
            std::uint32_t texels = 0;
            for (std::size_t i = 0; i < dispatch_.bound.size(); ++i)
                texels |= static_cast<std::uint32_t>(dispatch_.bound[i].texel != VK_FORMAT_UNDEFINED) << i;
            dispatch_.pipeline = &recorder_.device_.pipeline(
                shader, static_cast<std::uint32_t>(dispatch_.bound.size()), texels, constants);
            dispatch_.groups = std::move(groups);
            recorder_.recording_.dispatches.push_back(std::move(dispatch_));
        }

    private:
        Builder& bind(Range r, bool reads, bool writes) {
            dispatch_.bound.push_back({r, reads, writes});
            return *this;
        }
        Recorder& recorder_;
        Dispatch dispatch_;
    };

    void finish();

private:
    Device& device_;
    Recording& recording_;
};

void VulkanProgram::Recorder::finish() {
    const DeviceApi& api = device_.api();
    std::vector<Dispatch>& list = recording_.dispatches;
    std::uint32_t bindings = 0;
    for (const Dispatch& d : list) bindings += static_cast<std::uint32_t>(d.bound.size());
    recording_.sizes =
        device_.allocate(std::max<std::uint64_t>(12, list.size() * 12), Memory::host, "a program");
    const auto check = [&](VkResult result, const char* what) {
        if (result != VK_SUCCESS)
            throw Error(result == VK_ERROR_DEVICE_LOST ? ErrorCode::device : ErrorCode::out_of_memory,
                        fmt::format("{}: {} failed with {}", device_.info().name, what, to_string(result)));
    };
    const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, std::max(1u, bindings)},
                                          {VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, std::max(1u, bindings)}};
    VkDescriptorPoolCreateInfo pool{};
    pool.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
    pool.maxSets = static_cast<std::uint32_t>(std::max<std::size_t>(1, list.size()));
    pool.poolSizeCount = 2;
    pool.pPoolSizes = sizes;
    check(api.CreateDescriptorPool(device_.handle(), &pool, nullptr, &recording_.descriptors),
          "making descriptors");
    VkCommandBufferAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    info.commandPool = device_.command_pool();
    info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    info.commandBufferCount = 1;
    check(api.AllocateCommandBuffers(device_.handle(), &info, &recording_.commands),
          "making a command buffer");
    VkCommandBufferBeginInfo begin{};
    begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    check(api.BeginCommandBuffer(recording_.commands, &begin), "recording");

    std::vector<Dispatch::Bound> since;  // what was touched since the last barrier
    const auto meets = [](const Range& a, const Range& b) {
        return a.buffer == b.buffer && a.offset < b.offset + b.size && b.offset < a.offset + a.size;
    };
    const Device::Pipeline* bound_pipeline = nullptr;
    for (std::size_t i = 0; i < list.size(); ++i) {
        const Dispatch& d = list[i];
        VkDescriptorSetAllocateInfo allocate{};
        allocate.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
        allocate.descriptorPool = recording_.descriptors;
        allocate.descriptorSetCount = 1;
        allocate.pSetLayouts = &d.pipeline->set_layout;
        VkDescriptorSet set = VK_NULL_HANDLE;
        check(api.AllocateDescriptorSets(device_.handle(), &allocate, &set), "making descriptors");
        VkDescriptorBufferInfo buffers[kMaxBindings];
        VkWriteDescriptorSet writes[kMaxBindings];
        VkBufferView views[kMaxBindings];
        for (std::uint32_t b = 0; b < d.bound.size(); ++b) {
            buffers[b] = {d.bound[b].range.buffer, d.bound[b].range.offset, d.bound[b].range.size};
            writes[b] = {};
            writes[b].sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
            writes[b].dstSet = set;
            writes[b].dstBinding = b;
            writes[b].descriptorCount = 1;
            writes[b].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
            writes[b].pBufferInfo = &buffers[b];
            if (d.bound[b].texel == VK_FORMAT_UNDEFINED) continue;
            VkBufferViewCreateInfo view{};
            view.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO;
            view.buffer = d.bound[b].range.buffer;
            view.format = d.bound[b].texel;
            view.offset = d.bound[b].range.offset;
            view.range = d.bound[b].range.size;
            recording_.views.push_back(VK_NULL_HANDLE);
            check(api.CreateBufferView(device_.handle(), &view, nullptr, &recording_.views.back()),
                  "making a buffer view");
            views[b] = recording_.views.back();
            writes[b].descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
            writes[b].pBufferInfo = nullptr;
            writes[b].pTexelBufferView = &views[b];
        }
        api.UpdateDescriptorSets(device_.handle(), static_cast<std::uint32_t>(d.bound.size()), writes, 0,
                                 nullptr);

        bool hazard = false;
        for (const Dispatch::Bound& now : d.bound)
            for (const Dispatch::Bound& before : since)
                hazard |= (now.writes || before.writes) && meets(now.range, before.range);
        if (hazard) {
            VkMemoryBarrier barrier{};
            barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
            barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT;
            barrier.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;
            api.CmdPipelineBarrier(recording_.commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                   VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &barrier, 0, nullptr, 0,
                                   nullptr);
            since.clear();
        }
        since.insert(since.end(), d.bound.begin(), d.bound.end());
        if (bound_pipeline != d.pipeline)
            api.CmdBindPipeline(recording_.commands, VK_PIPELINE_BIND_POINT_COMPUTE, d.pipeline->pipeline);
        bound_pipeline = d.pipeline;
        api.CmdBindDescriptorSets(recording_.commands, VK_PIPELINE_BIND_POINT_COMPUTE, d.pipeline->layout, 0,
                                  1, &set, 0, nullptr);
        api.CmdPushConstants(recording_.commands, d.pipeline->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                             kPushBytes, d.push.data());
        api.CmdDispatchIndirect(recording_.commands, recording_.sizes.handle(),
                                recording_.sizes.range().offset + i * 12);
    }
    // The host reads the logits, and the next run begins where this one ended.
    VkMemoryBarrier barrier{};
    barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
    api.CmdPipelineBarrier(recording_.commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                           VK_PIPELINE_STAGE_HOST_BIT | VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 1, &barrier, 0,
                           nullptr, 0, nullptr);
    check(api.EndCommandBuffer(recording_.commands), "recording");
}

// ---- the program

std::optional<Obstacle> VulkanProgram::obstacle(const DeviceInfo& device, const graph::Graph& graph,
                                                const Limits& limits) {
    const auto mib = [](std::uint64_t bytes) { return static_cast<double>(bytes) / MiB; };
    for (const Op& op : graph.ops()) {
        if (const std::uint64_t most = most_positions(device, op); limits.max_context > most)
            return Obstacle{
                ErrorCode::unsupported,
                fmt::format(
                    "{}: a software device's driver may end loops that are long enough for more than {} "
                    "positions; a shorter context, or backend 'cpu', which has no such limit, would help",
                    device.name, most)};
        if (op.kind == OpKind::route && op.experts > kMaxExperts)
            return Obstacle{
                ErrorCode::unsupported,
                fmt::format(
                    "backend 'vulkan' routes between {} experts at most, and there are {}; backend 'cpu' "
                    "has no such limit",
                    kMaxExperts, op.experts)};
        if (!in_blocks(op.kind)) continue;
        if (device_row_words(op.weight.dtype, op.weight.cols) == 0) return no_shader(op.weight);
        if (piece_rows(device, op.weight) == 0)
            return Obstacle{
                ErrorCode::unsupported,
                fmt::format(
                    "{}: '{}' cannot be cut into pieces of the {:.1f} MiB that a shader of this device "
                    "sees",
                    device.name, op.weight.name, mib(std::min(device.max_binding, device.max_allocation)))};
    }
    // `each`: bytes of one token, or of one of those whose logits are wanted.
    const auto too_large = [&](std::uint64_t bytes, std::uint64_t each, const char* what, const char* of) {
        return Obstacle{
            ErrorCode::out_of_memory,
            fmt::format(
                "{}: {} of {:.1f} MiB are more than the {:.1f} MiB that a shader of this device sees; a "
                "smaller batch, of at most {} {}, needs less",
                device.name, what, mib(bytes), mib(device.max_binding), device.max_binding / each, of)};
    };
    for (const ValueInfo& v : graph.values())
        if (const std::uint64_t bytes = graph::value_bytes(v, limits.max_tokens, limits.max_outputs);
            bytes > device.max_binding)
            return too_large(bytes, 4 * v.cols * v.per_row, "intermediate results",
                             v.domain == Domain::tokens ? "tokens" : "tokens whose logits are wanted");
    if (const std::uint64_t bytes = angle_bytes(graph, limits); bytes > device.max_binding)
        return too_large(bytes, bytes / limits.max_tokens, "rotation angles", "tokens");
    if (const std::uint64_t bytes = batch_bytes(graph, limits); bytes > device.max_binding)
        return too_large(bytes, ceil_div<std::uint64_t>(bytes, limits.max_tokens),
                         "the page tables of a batch", "tokens, or a shorter context");
    // Values share memory, so that a plan is needed only where they would not fit side by side.
    std::uint64_t side_by_side = 0;
    for (const ValueInfo& v : graph.values())
        side_by_side += graph::value_bytes(v, limits.max_tokens, limits.max_outputs);
    if (side_by_side <= device.max_allocation) return std::nullopt;
    if (const std::uint64_t bytes = plan_values(graph, limits).bytes; bytes > device.max_allocation)
        return Obstacle{
            ErrorCode::out_of_memory,
            fmt::format(
                "{}: {:.1f} MiB of intermediate results are more than one allocation of this device holds "
                "({:.1f} MiB); a smaller batch needs less",
                device.name, mib(bytes), mib(device.max_allocation))};
    return std::nullopt;
}

VulkanProgram::VulkanProgram(const graph::Graph& graph, const Limits& limits, std::shared_ptr<Device> device,
                             WeightStore& store, ProductPaths& paths, std::optional<ProductPath> path)
    : graph_(graph), limits_(limits), device_(std::move(device)), plan_(plan_values(graph, limits)) {
    if (const std::optional<Obstacle> found = obstacle(device_->info(), graph, limits))
        throw Error(found->code, found->text);
    const std::lock_guard lock(device_->mutex());
    producer_.assign(graph_.values().size(), nullptr);
    for (const Op& op : graph_.ops()) producer_[static_cast<std::size_t>(op.out.id)] = &op;
    const auto raw = [&](const graph::Weight& w) {
        Buffer buffer = device_->allocate(w.bytes(), Memory::device, fmt::format("weights ('{}')", w.name));
        device_->upload(buffer, 0, {static_cast<const std::byte*>(w.data), w.bytes()});
        return buffer;
    };
    for (const Op& op : graph_.ops()) {
        switch (op.kind) {
            case OpKind::embed:
            case OpKind::linear:
            case OpKind::linear_heads:
            case OpKind::linear_experts:
                if (op.kind != OpKind::embed)
                    paths_[op.weight.dtype] = path ? ProductChoice{*path, *path} : paths.of(op.weight.dtype);
                weights_[&op] = store.get(op.weight);
                break;
            case OpKind::attention: {
                if (!op.weight && op.slopes.empty()) break;
                std::vector<float> of_heads(op.slopes);
                of_heads.resize(op.attention.q);
                if (op.weight)
                    of_heads.insert(of_heads.end(), op.weight.f32(), op.weight.f32() + op.attention.q);
                Buffer& buffer = vectors_[&op] =
                    device_->allocate(of_heads.size() * 4, Memory::device, "attention");
                device_->upload(buffer, 0, std::as_bytes(std::span(of_heads)));
                break;
            }
            default:
                if (op.weight) vectors_[&op] = raw(op.weight);
        }
        if (op.bias) biases_[&op] = raw(op.bias);
    }
    std::uint64_t floats = 0;
    for (const graph::Rope& rope : graph_.ropes()) {
        angle_offset_.push_back(static_cast<std::uint32_t>(floats));
        floats += std::uint64_t{limits_.max_tokens} * rope.inv_freq.size() * 2;
    }
    std::map<QuantKind, std::uint64_t> quantised;  // less than the values, which fit (obstacle())
    for (const Op& op : graph_.ops()) {
        if (!is_product(op.kind)) continue;
        for (const bool many : {false, true}) {
            const Product p = product(op, many);
            tiles_ |= info_of(p.path).tiles;
            if (p.quantised.form == Activations::f32) continue;
            std::uint64_t& most = quantised[p.quantised];
            most = std::max(most, quantised_bytes(graph_, op, p.quantised.form, limits_));
        }
    }
    for (const auto& [kind, bytes] : quantised)
        quants_[kind] = device_->allocate(bytes, Memory::device, "quantised activations");
    arena_ = device_->allocate(plan_.bytes, Memory::device, "intermediate results");
    angles_ = device_->allocate(floats * 4, Memory::host, "rotation angles");
    batch_ = device_->allocate(batch_bytes(graph_, limits_), Memory::host, "batches");
    logits_ = device_->allocate(
        graph::value_bytes(graph_.info(graph_.logits()), limits_.max_tokens, limits_.max_outputs),
        Memory::host, "logits");
    if (const Op* in = input_of(graph_))
        input_ = device_->allocate(
            graph::value_bytes(graph_.info(in->out), limits_.max_tokens, limits_.max_outputs), Memory::host,
            "rows of another device");
}

VulkanProgram::~VulkanProgram() {
    const std::lock_guard lock(device_->mutex());
    forget();
    device_->save_cache();
}

void VulkanProgram::forget() noexcept {
    for (auto& [shape, r] : recordings_) {
        if (r->descriptors) device_->api().DestroyDescriptorPool(device_->handle(), r->descriptors, nullptr);
        for (VkBufferView view : r->views) device_->api().DestroyBufferView(device_->handle(), view, nullptr);
        if (r->commands)
            device_->api().FreeCommandBuffers(device_->handle(), device_->command_pool(), 1, &r->commands);
    }
    recordings_.clear();
}

std::uint64_t VulkanProgram::scratch_bytes(const graph::Graph& graph, const Limits& limits,
                                           const DeviceInfo& device, bool half) {
    const Op* in = input_of(graph);
    // Each kind of block has a buffer; without a self-test it is not known which form will be right, so this is
    // the form that is tried first.
    std::map<std::uint32_t, std::uint64_t> quantised;
    for (const Op& op : graph.ops())
        if (is_product(op.kind) && kernels::act_kind(op.weight.dtype) != kernels::ActKind::f32) {
            std::uint64_t& most = quantised[info(op.weight.dtype).block];
            most = std::max(most, quantised_bytes(
                                      graph, op,
                                      device.software ? Activations::texels : Activations::packed, limits));
        }
    if (half)
        for (const Op& op : graph.ops())
            if (is_product(op.kind)) {
                std::uint64_t& most = quantised[0];
                most = std::max(most, quantised_bytes(graph, op, Activations::half, limits));
            }
    std::uint64_t sum = 0;
    for (const auto& [block, bytes] : quantised) sum += bytes;
    return sum + plan_values(graph, limits).bytes + angle_bytes(graph, limits) + batch_bytes(graph, limits) +
           (in ? graph::value_bytes(graph.info(in->out), limits.max_tokens, limits.max_outputs) : 0) +
           graph::value_bytes(graph.info(graph.logits()), limits.max_tokens, limits.max_outputs);
}

std::uint64_t VulkanProgram::scratch_bytes() const noexcept {
    std::uint64_t sum = arena_.size() + angles_.size() + batch_.size() + logits_.size() + input_.size();
    for (const auto& [kind, buffer] : quants_) sum += buffer.size();
    return sum;
}

// Texels hold four numbers, and there may be fewer of them than a buffer has.
VulkanProgram::Product VulkanProgram::product(const Op& op, bool many) const {
    const DType dtype = op.weight.dtype;
    const ProductChoice& choice = paths_.at(dtype);
    Product p{many ? choice.many : choice.few, {}};
    if (p.path == ProductPath::texels) {
        const Activations form = activations_of(p.path, dtype);
        const std::uint64_t limit = device_->info().max_texels * 16;
        const std::uint64_t bytes = form == Activations::f32
                                        ? value(op.in[0]).size
                                        : quantised_bytes(graph_, op, form, limits_);
        bool fits = op.weight.cols % 4 == 0 && bytes <= std::min(limit, device_->info().max_binding);
        for (const DeviceWeight::Slab& slab : weights_.at(&op)->slabs()) fits &= slab.buffer.size() <= limit;
        if (!fits) p.path = ProductPath::buffers;
    }
    const Activations form = activations_of(p.path, dtype);
    if (form == Activations::half)
        p.quantised = {form, 0};
    else if (form != Activations::f32)
        p.quantised = {form, info(dtype).block};
    return p;
}

std::uint32_t VulkanProgram::token_class(std::uint32_t n) const noexcept {
    return n <= 2 ? n : n <= 4 ? 4 : n < kManyTokens || !tiles_ ? kFewTokens : kTileTokens;
}

Range VulkanProgram::value(Value v) const {
    const std::uint64_t bytes = graph::value_bytes(graph_.info(v), limits_.max_tokens, limits_.max_outputs);
    if (v == graph_.logits()) return logits_.range(0, bytes);
    if (producer(v).kind == OpKind::input) return input_.range(0, bytes);
    return arena_.range(plan_.offset[static_cast<std::size_t>(v.id)], bytes);
}

std::span<const float> VulkanProgram::run(const Batch& batch, KvMemory& memory) {
    const std::lock_guard lock(device_->mutex());
    const auto& kv = static_cast<const VulkanKv&>(memory);
    if (kv_serial_ != kv.serial()) {
        forget();
        kv_serial_ = kv.serial();
    }
    const auto tokens = static_cast<std::uint32_t>(batch.tokens.size()),
               outputs = static_cast<std::uint32_t>(batch.outputs.size());
    Shape shape{token_class(tokens), token_class(outputs), false};
    for (const Segment& s : batch.segments) shape.pieces |= s.count > 1;
    std::unique_ptr<Recording>& slot = recordings_[shape];
    if (!slot) {
        slot = std::make_unique<Recording>();
        try {
            record(*slot, shape, kv);
        } catch (...) {
            forget();
            throw;
        }
    }
    Recording& recording = *slot;
    const Counts counts{tokens, outputs, write_batch(batch, shape.pieces, kv)};
    auto* sizes = reinterpret_cast<std::uint32_t*>(recording.sizes.host());
    for (const Dispatch& d : recording.dispatches) {
        const Groups g = d.groups(counts);
        std::memcpy(sizes, g.data(), sizeof g);
        sizes += 3;
    }
    if (input_) std::memcpy(input_.host(), batch.input.data(), batch.input.size_bytes());
    device_->submit_and_wait(recording.commands);
    const ValueInfo& result = graph_.info(graph_.logits());
    return {reinterpret_cast<const float*>(logits_.host()),
            (result.domain == Domain::tokens ? tokens : outputs) * result.cols};
}

// Returns the number of attention blocks.
std::uint32_t VulkanProgram::write_batch(const Batch& batch, bool pieces, const VulkanKv& kv) {
    auto* words = reinterpret_cast<std::uint32_t*>(batch_.host());
    const std::uint32_t n = static_cast<std::uint32_t>(batch.tokens.size());
    std::uint32_t at = kHeaderWords;
    const auto list = [&](std::uint32_t index, std::uint32_t size) {
        words[index] = at;
        at += size;
        return words + words[index];
    };
    words[0] = n;
    words[1] = static_cast<std::uint32_t>(batch.outputs.size());
    std::uint32_t* ids = list(2, n);
    std::uint32_t* positions = list(3, n);
    std::uint32_t* starts = list(4, n);
    std::uint32_t* rows = list(5, words[1]);
    std::uint32_t* blocks = list(6, 2 * n);
    std::uint32_t* ends = list(7, n);
    for (std::uint32_t i = 0; i < n; ++i) ids[i] = static_cast<std::uint32_t>(batch.tokens[i]);
    std::copy(batch.outputs.begin(), batch.outputs.end(), rows);
    std::uint32_t block_count = 0;
    for (const Segment& s : batch.segments) {
        const std::uint32_t used =
            ceil_div<std::uint32_t>(s.position + s.count, kernels::kPageTokens) * kv.groups().count();
        if ((std::uint64_t{at} + used) * 4 > batch_.size())
            throw Error(ErrorCode::internal, "backend 'vulkan': page tables of more groups than the program was made for");
        std::copy_n(s.pages.begin(), std::min<std::size_t>(used, s.pages.size()), words + at);
        // Blocks behind every window may name any page.
        for (std::uint32_t i = 0; i < used; ++i)
            if (words[at + i] >= kv.pages()) words[at + i] = 0;
        for (std::uint32_t i = 0; i < s.count; ++i) {
            positions[s.first + i] = s.position + i;
            starts[s.first + i] = at;
            ends[s.first + i] = s.position + s.count;
        }
        at += used;
        const std::uint32_t step = pieces ? kBlockTokens : 1;
        for (std::uint32_t i = 0; i < s.count; i += step) {
            blocks[2 * block_count] = s.first + i;
            blocks[2 * block_count + 1] = std::min(step, s.count - i);
            ++block_count;
        }
    }
    for (std::size_t r = 0; r < graph_.ropes().size(); ++r) {
        const graph::Rope& rope = graph_.ropes()[r];
        const std::size_t half = rope.inv_freq.size();
        float* cos = reinterpret_cast<float*>(angles_.host()) + angle_offset_[r];
        for (std::uint32_t i = 0; i < n; ++i, cos += 2 * half)
            kernels::rope_table(rope.frequencies(limits_.max_context).data(), half, positions[i], rope.factor,
                                cos, cos + half);
    }
    return block_count;
}

void VulkanProgram::record(Recording& recording, const Shape& shape, const VulkanKv& kv) {
    Recorder recorder(*device_, recording);
    const DeviceInfo& device = device_->info();
    const auto builder = [&] { return Recorder::Builder(recorder, batch_.range()); };
    const auto u32 = [](std::uint64_t n) { return static_cast<std::uint32_t>(n); };
    const auto rows_of = [](const ValueInfo& i, const Counts& c) {
        return (i.domain == Domain::tokens ? c.tokens : c.outputs) * i.per_row;
    };
    const auto max_rows = [&](const ValueInfo& i) {
        return (i.domain == Domain::tokens ? limits_.max_tokens : limits_.max_outputs) * i.per_row;
    };
    const auto domain = [](const ValueInfo& i) { return i.domain == Domain::tokens ? 0u : 1u; };
    // One invocation an element, or a row of `cols` of them.
    const auto flat = [rows_of](const ValueInfo& i, std::uint64_t each, std::uint32_t lanes) {
        return [=](const Counts& c) -> Groups {
            return folded(ceil_div<std::uint64_t>(rows_of(i, c) * each, lanes));
        };
    };
    const std::uint32_t wide = device.software ? device.subgroup : std::min(256u, device.max_invocations);
    std::map<QuantKind, std::pair<int, std::uint32_t>> quantised;  // whose rows a buffer has: a value, its parts
    for (const Op& op : graph_.ops()) {
        const ValueInfo& out = graph_.info(op.out);
        const std::uint32_t cols = u32(out.cols);
        const auto elementwise = [&](std::uint32_t which, Value b, float factor, std::uint32_t kind = 0) {
            builder()
                .reads(value(op.in[0]))
                .reads(value(b))
                .writes(value(op.out))
                .push(cols, domain(out), out.per_row, factor)
                .run("elementwise", {which, kind}, flat(out, cols, 64));
        };
        switch (op.kind) {
            case OpKind::input:
                break;
            case OpKind::embed: {
                const std::uint32_t blocks = u32(op.weight.cols / info(op.weight.dtype).block);
                for (const DeviceWeight::Slab& slab : weights_.at(&op)->slabs())
                    builder()
                        .reads(slab.buffer.range())
                        .writes(value(op.out))
                        .push(cols, blocks, u32(device_row_words(op.weight.dtype, op.weight.cols)),
                              u32(slab.first_row), u32(slab.rows), static_cast<std::uint32_t>(op.lookup))
                        .run(fmt::format("embed/{}", info(op.weight.dtype).name), {},
                             flat(out, ceil_div(cols, 32u), 32));
                break;
            }
            case OpKind::rms_norm:
            case OpKind::layer_norm: {
                const bool own = op.weight && op.weight.cols == out.cols;
                builder()
                    .reads(value(op.in[0]))
                    .reads(op.weight ? vectors_.at(&op).range() : batch_.range())
                    .reads(op.bias ? biases_.at(&op).range() : batch_.range())
                    .writes(value(op.out))
                    .push(cols / op.groups, domain(out), out.per_row, op.groups, op.factor)
                    .run("norm",
                         {wide, op.kind == OpKind::layer_norm ? 1u : 0u, op.weight ? 1u : 0u,
                          op.bias ? 1u : 0u, own ? 1u : 0u},
                         [=, groups = op.groups](const Counts& c) -> Groups {
                             return folded(std::uint64_t{rows_of(out, c)} * groups);
                         });
                break;
            }
            case OpKind::add:
                elementwise(0, op.in[1], 0);
                break;
            case OpKind::mul:
                elementwise(graph_.info(op.in[1]).cols == cols ? 1 : 3, op.in[1], 0);
                break;
            case OpKind::scale:
                elementwise(2, op.in[0], op.factor);
                break;
            case OpKind::softcap:
                elementwise(4, op.in[0], op.softcap);
                break;
            case OpKind::activate:
                elementwise(5, op.in[0], 0, static_cast<std::uint32_t>(op.activation));
                break;
            case OpKind::gated:
                elementwise(6, op.in[1], 0, static_cast<std::uint32_t>(op.activation));
                break;
            case OpKind::slice: {
                const std::uint32_t n = cols / op.groups, from = u32(graph_.info(op.in[0]).cols / op.groups);
                builder()
                    .reads(value(op.in[0]))
                    .writes(value(op.out))
                    .push(n, domain(out), out.per_row, op.groups, from, op.first, n, 0u)
                    .run("slice", {}, flat(out, cols, 64));
                break;
            }
            case OpKind::concat: {
                std::uint32_t at = 0;
                for (const Value part : {op.in[0], op.in[1]}) {
                    const std::uint32_t all = u32(graph_.info(part).cols), n = all / op.groups;
                    builder()
                        .reads(value(part))
                        .writes(value(op.out))
                        .push(n, domain(out), out.per_row, op.groups, n, 0u, cols / op.groups, at)
                        .run("slice", {}, flat(out, all, 64));
                    at += n;
                }
                break;
            }
            case OpKind::rope: {
                const graph::Rope& rope = graph_.ropes()[op.rope];
                builder()
                    .reads(value(op.in[0]))
                    .reads(angles_.range())
                    .writes(value(op.out))
                    .push(cols, cols / op.heads, u32(rope.inv_freq.size()), angle_offset_[op.rope])
                    .run("rope", {rope.mode == kernels::RopeMode::halves ? 1u : 0u}, flat(out, cols, 64));
                break;
            }
            case OpKind::attention: {
                const graph::Heads& h = op.attention;
                const char* type = kv_variant(kv.type());
                const std::uint32_t parts = kv_parts(kv.type(), h.k_dim) + kv_parts(kv.type(), h.v_dim);
                const std::uint32_t groups = kv.groups().count(), group = kv.groups().of_layer[op.layer];
                builder()
                    .reads(value(op.in[1]))
                    .reads(value(op.in[2]))
                    .writes(kv.range(op.layer))
                    .push(h.kv, h.k_dim, h.v_dim, kv.page_words(op.layer), groups, group)
                    .run(fmt::format("kv_store/{}", type), {},
                         flat(graph_.info(op.in[1]), std::uint64_t{h.kv} * parts, 64));
                const std::uint32_t in_group = h.q / h.kv, most = device.software ? 4 : 8;
                const std::uint32_t tokens = shape.pieces ? kBlockTokens : 1;
                const std::uint32_t heads =
                    divisor(in_group, shape.pieces ? std::max(1u, most / kBlockTokens) : most);
                const std::uint32_t units = ceil_div(kv_units(kv.type(), h.v_dim), device.subgroup);
                // Subgroups of a workgroup leave the weights of a page each there.
                const std::uint32_t page_bytes = 4 * heads * tokens * (kernels::kPageTokens + 2);
                std::uint32_t splits = device.software ? 1 : shape.pieces ? 2 : 8;
                while (splits > 1 && (splits * page_bytes > device.shared_bytes ||
                                      splits * device.subgroup > device.max_invocations))
                    splits /= 2;
                const bool texels = device.software && kv.range(op.layer).size / 4 <= device.max_texels &&
                                    value(op.in[0]).size / 4 <= device.max_texels;
                Recorder::Builder attend = builder();
                if (texels)
                    attend.fetches(value(op.in[0]), VK_FORMAT_R32_SFLOAT)
                        .fetches(kv.range(op.layer), VK_FORMAT_R32_UINT);
                else
                    attend.reads(value(op.in[0])).reads(kv.range(op.layer));
                attend.writes(value(op.out))
                    .reads(vectors_.contains(&op) ? vectors_.at(&op).range() : batch_.range())
                    .push(h.q, h.kv, h.k_dim, h.v_dim, kv.page_words(op.layer), groups, group,
                          op.visibility.window, op.factor, op.softcap, op.visibility.causal ? 1u : 0u)
                    .run(fmt::format("attention/{}{}", type, texels ? "_TEXELS" : ""),
                         {device.subgroup, splits, heads, units, device.subgroup * splits, tokens,
                          op.slopes.empty() ? 0u : 1u, op.weight ? 1u : 0u, op.softcap != 0.0f ? 1u : 0u},
                         [=](const Counts& c) -> Groups {
                             return {c.blocks, h.kv, in_group / heads};
                         });
                break;
            }
            case OpKind::take_outputs:
                builder()
                    .reads(value(op.in[0]))
                    .writes(value(op.out))
                    .push(cols)
                    .run("take_outputs", {}, flat(out, cols, 64));
                break;
            case OpKind::route: {
                const ValueInfo& in = graph_.info(op.in[0]);
                const std::uint32_t slots = max_rows(in) * op.used;
                builder()
                    .reads(value(op.in[0]))
                    .changes(value(op.out))
                    .reads(op.bias ? biases_.at(&op).range() : batch_.range())
                    .push(op.experts, op.used, domain(in), in.per_row, op.normalise ? 1u : 0u, slots,
                          op.groups, op.groups_used, op.factor)
                    .run("route", {static_cast<std::uint32_t>(op.score), op.bias ? 1u : 0u}, flat(in, 1, 32));
                builder()
                    .changes(value(op.out))
                    .push(op.experts, op.used, domain(in), in.per_row, slots)
                    .run("group_experts", {}, [](const Counts&) -> Groups {
                        return {1, 1, 1};
                    });
                break;
            }
            case OpKind::gather_experts: {
                const std::uint32_t slots = max_rows(out);
                builder()
                    .reads(value(op.in[0]))
                    .reads(value(op.in[1]))
                    .writes(value(op.out))
                    .push(cols, domain(out), out.per_row, slots)
                    .run("gather_experts", {}, flat(out, cols, 64));
                break;
            }
            case OpKind::combine_experts: {
                const std::uint32_t used = producer(op.in[1]).used;
                builder()
                    .reads(value(op.in[0]))
                    .reads(value(op.in[1]))
                    .writes(value(op.out))
                    .push(cols, used, domain(out), out.per_row, max_rows(out) * used)
                    .run("combine_experts", {}, flat(out, cols, 64));
                break;
            }
            case OpKind::linear:
            case OpKind::linear_heads:
            case OpKind::linear_experts: {
                const bool heads = op.kind == OpKind::linear_heads;
                const bool experts = op.kind == OpKind::linear_experts;
                const ValueInfo& in = graph_.info(op.in[0]);
                const DeviceWeight& weight = *weights_.at(&op);
                const std::uint32_t used = experts ? producer(op.in[1]).used : 1,
                                    n_experts = experts ? producer(op.in[1]).experts : 1;
                const std::uint32_t begins = experts ? 4 * max_rows(in) : u32(op.weight.slabs);
                std::uint32_t tokens = in.domain == Domain::tokens ? shape.tokens : shape.outputs;
                if (tokens == 0) tokens = 1;
                if (experts)
                    tokens = tokens < kFewTokens ? 1 : token_class(std::max(1u, max_rows(in) / n_experts));
                const Product p = product(op, tokens > kFewTokens);
                const ProductPathInfo& path = info_of(p.path);
                const bool texels = p.path == ProductPath::texels;
                const bool floats = kernels::act_kind(op.weight.dtype) == kernels::ActKind::f32;
                tokens = path.tiles ? tile_of(path, floats) : std::min(tokens, kFewTokens);
                // A software device has neither lanes to fill nor fast exchange, but decodes weights slowly.
                const std::uint32_t rows = !device.software ? 1 : floats ? 4 : 8;
                const std::uint32_t slices =
                    floats   ? 4
                    : texels ? 1
                             : slices_of(device, rows * tokens,
                                       op.weight.dtype == DType::Q4_1 || op.weight.dtype == DType::Q5_1);
                Range x = value(op.in[0]);
                if (p.quantised.form != Activations::f32) {
                    x = quants_.at(p.quantised).range(0, quantised_bytes(graph_, op, p.quantised.form, limits_));
                    // Products of one value share its quantised rows; those of another value take their place.
                    const std::pair<int, std::uint32_t> now{op.in[0].id, heads ? u32(op.weight.slabs) : 1};
                    const bool fresh = std::exchange(quantised[p.quantised], now) != now;
                    if (fresh && p.quantised.form == Activations::half)
                        builder()
                            .reads(value(op.in[0]))
                            .writes(x)
                            .push(u32(op.weight.cols), domain(in), in.per_row * now.second)
                            .run("halve", {}, flat(in, now.second, 1));
                    else if (fresh)
                        builder()
                            .reads(value(op.in[0]))
                            .writes(x)
                            .push(u32(op.weight.cols), domain(in), in.per_row * now.second)
                            .run(texels ? "quantize/FLOATS" : "quantize/PACKED", {p.quantised.block / 32},
                                 flat(in, in.cols / 32, 64));
                }
                for (const DeviceWeight::Slab& slab : weight.slabs()) {
                    const std::uint64_t each = experts || heads ? weight.padded_rows() : slab.rows;
                    const std::uint32_t slab_experts = u32(slab.rows / each), groups = u32(each / kGroupRows);
                    Recorder::Builder b = builder();
                    if (texels)
                        b.fetches(slab.buffer.range(), VK_FORMAT_R32G32B32A32_UINT)
                            .fetches(x, VK_FORMAT_R32G32B32A32_SFLOAT);
                    else
                        b.reads(slab.buffer.range()).reads(x);
                    const std::uint32_t taken = path.tiles ? tile_of(path, floats) / kGroupRows : rows;
                    const std::uint32_t kind = experts ? 1 : heads ? 2 : 0, bias = op.bias ? 1 : 0;
                    std::vector<std::uint32_t> constants{tokens, rows, slices, kind, bias};
                    if (path.half) {
                        const MatrixShape& m = device.matrix;
                        constants[0] = device.subgroup;
                        constants.resize(10);
                        constants.insert(constants.end(), {m.m, m.n, m.k});
                    }
                    b.writes(value(op.out))
                        .reads(op.bias ? biases_.at(&op).range() : batch_.range())
                        .reads(experts ? value(op.in[1]) : batch_.range())
                        .push(u32(op.weight.cols), u32(op.weight.cols / info(op.weight.dtype).block),
                              u32(device_row_words(op.weight.dtype, op.weight.cols)), groups,
                              experts || heads ? 0u : u32(slab.first_row), u32(op.weight.rows), domain(in),
                              in.per_row, experts || heads ? u32(slab.first_row / each) : 0u, begins)
                        .run(fmt::format("{}/{}", path.shader, info(op.weight.dtype).name), constants,
                             [=](const Counts& c) -> Groups {
                                 return {ceil_div(groups, taken), ceil_div(rows_of(in, c) / used, tokens),
                                         slab_experts};
                             });
                }
                break;
            }
        }
    }
    recorder.finish();
}

}  // namespace tern::backend::vulkan
