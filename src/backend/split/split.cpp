#include "backend/split/split.h"

#include <fmt/format.h>
#include <tern/error.h>

#include <algorithm>

#include "graph/cut.h"

namespace tern::backend::split {
namespace {

class SplitKv final : public KvMemory {
public:
    explicit SplitKv(std::vector<std::unique_ptr<KvMemory>> parts) : parts_(std::move(parts)) {
        for (const auto& part : parts_) page_bytes_ += part->page_bytes();
    }
    std::uint32_t pages() const noexcept override { return parts_[0]->pages(); }
    std::uint64_t page_bytes() const noexcept override { return page_bytes_; }
    void copy_page(std::uint32_t from, std::uint32_t to) override {
        for (const auto& part : parts_)
            if (part->page_bytes() > 0) part->copy_page(from, to);
    }
    void read_page(std::uint32_t page, std::span<std::byte> to) const override {
        for (const auto& part : parts_) {
            if (part->page_bytes() == 0) continue;
            part->read_page(page, to.first(part->page_bytes()));
            to = to.subspan(part->page_bytes());
        }
    }
    void write_page(std::uint32_t page, std::span<const std::byte> from) override {
        for (const auto& part : parts_) {
            if (part->page_bytes() == 0) continue;
            part->write_page(page, from.first(part->page_bytes()));
            from = from.subspan(part->page_bytes());
        }
    }
    bool can_move() const noexcept override {
        return std::all_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->can_move(); });
    }
    void move(std::span<const std::uint32_t> table, std::uint32_t from, std::uint32_t to, std::uint32_t count) override {
        for (const auto& part : parts_) part->move(table, from, to, count);
    }
    KvMemory& part(std::size_t i) noexcept { return *parts_[i]; }

private:
    std::vector<std::unique_ptr<KvMemory>> parts_;
    std::uint64_t page_bytes_ = 0;
};

class SplitProgram final : public Program {
public:
    explicit SplitProgram(std::vector<std::unique_ptr<Program>> parts) : parts_(std::move(parts)) {}
    std::span<const float> run(const Batch& batch, KvMemory& kv) override {
        auto& memory = static_cast<SplitKv&>(kv);
        Batch part = batch;
        for (std::size_t i = 0; i < parts_.size(); ++i) part.input = parts_[i]->run(part, memory.part(i));
        return part.input;
    }
    std::uint64_t scratch_bytes() const noexcept override {
        std::uint64_t sum = 0;
        for (const auto& part : parts_) sum += part->scratch_bytes();
        return sum;
    }

private:
    std::vector<std::unique_ptr<Program>> parts_;
};

}  // namespace

Parts::Parts(std::span<const std::unique_ptr<Backend>> backends, const graph::Graph& graph, const KvGroups& groups,
             KvType type, const Layout& layout)
    : type_(type) {
    std::vector<std::size_t> at;
    std::vector<std::size_t> begins;
    std::uint32_t layer = 0;
    for (std::size_t i = 0; i < layout.layers.size(); ++i) {
        if (layout.layers[i] == 0 && !(i == 0 && layout.embedding)) continue;
        if (!parts_.empty()) {
            if (begins.empty()) begins = graph::layer_begins(graph);
            at.push_back(layer < begins.size() ? begins[layer] : graph::kNoCut);
            if (at.back() == graph::kNoCut)
                throw Error(ErrorCode::unsupported,
                            fmt::format("this model cannot be split between devices before layer {}: more than one value is "
                                        "handed on there; all layers on one device would do",
                                        layer));
        }
        parts_.push_back({backends[i].get(), i, layer, layout.layers[i], nullptr, {}});
        layer += layout.layers[i];
    }
    if (parts_.empty()) parts_.push_back({backends[0].get(), 0, 0, 0, nullptr, {}});
    if (parts_.size() == 1) {
        parts_[0].graph = &graph;
        parts_[0].groups = groups;
        return;
    }
    graphs_ = std::make_unique<std::vector<graph::Graph>>(graph::cut(graph, at));
    for (std::size_t i = 0; i < parts_.size(); ++i) {
        parts_[i].graph = &(*graphs_)[i];
        parts_[i].groups = part_of(groups, *parts_[i].graph, parts_[i].first, type);
    }
}

std::vector<std::shared_ptr<const void>> copy_weights(std::span<const Part> parts,
                                                      const std::function<bool(double)>& progress) {
    std::uint64_t total = 0, done = 0;
    std::vector<const Part*> missing;
    for (const Part& part : parts) {
        const WeightBytes weights = part.backend->weight_bytes(*part.graph);
        if (weights.all == weights.there) continue;
        total += weights.all - weights.there;
        missing.push_back(&part);
    }
    if (missing.empty()) return {};
    const auto report = [&](double fraction, const Part& part) {
        if (progress && !progress(fraction))
            throw Error(ErrorCode::cancelled,
                        fmt::format("copying the weights to {} was cancelled", part.backend->place().name));
    };
    std::vector<std::shared_ptr<const void>> kept;
    report(0, *missing.front());
    for (const Part* part : missing)
        kept.push_back(part->backend->copy_weights(*part->graph, [&, part](std::uint64_t bytes) {
            done += bytes;
            // 1 is for the end: programs have small weights of their own.
            if (done < total) report(static_cast<double>(done) / static_cast<double>(total), *part);
        }));
    report(1, *missing.back());
    return kept;
}

std::unique_ptr<Program> Parts::compile(const Limits& limits,
                                        const std::function<bool(double)>& progress) const {
    const std::vector<std::shared_ptr<const void>> kept = copy_weights(parts_, progress);
    std::vector<std::unique_ptr<Program>> programs;
    for (const Part& part : parts_) {
        Limits own = limits;
        own.kv_groups = part.groups.count();
        programs.push_back(part.backend->compile(*part.graph, own));
    }
    if (programs.size() == 1) return std::move(programs[0]);
    return std::make_unique<SplitProgram>(std::move(programs));
}

std::unique_ptr<KvMemory> Parts::make_kv(std::uint32_t pages) const {
    if (parts_.size() == 1) return parts_[0].backend->make_kv(*parts_[0].graph, parts_[0].groups, type_, pages);
    std::vector<std::unique_ptr<KvMemory>> memories;
    for (const Part& part : parts_) memories.push_back(part.backend->make_kv(*part.graph, part.groups, type_, pages));
    return std::make_unique<SplitKv>(std::move(memories));
}

bool can_split(const graph::Graph& graph) {
    const std::vector<std::size_t> begins = graph::layer_begins(graph);
    return !begins.empty() && std::find(begins.begin(), begins.end(), graph::kNoCut) == begins.end();
}

Layout last_layers(std::uint32_t total, std::uint64_t layers, std::span<const std::uint64_t> device_weights) {
    const auto there = static_cast<std::uint32_t>(std::min<std::uint64_t>(layers, total));
    Layout layout{.layers = {total - there}, .embedding = layers > 0 && layers <= total};
    // Borders where the sum of the weights before them has its share of the layers: a device's share is within one layer
    // of its proportion.
    double all = 0;
    for (const std::uint64_t w : device_weights) all += static_cast<double>(w);
    double before = 0;
    std::uint32_t begin = 0;
    for (std::size_t i = 0; i < device_weights.size(); ++i) {
        before += all > 0 ? static_cast<double>(device_weights[i]) / all : 1.0 / static_cast<double>(device_weights.size());
        std::uint32_t end = i + 1 == device_weights.size()
                                ? there
                                : static_cast<std::uint32_t>(before * static_cast<double>(there) + 0.5);
        end = std::clamp(end, begin, there);
        layout.layers.push_back(end - begin);
        begin = end;
    }
    return layout;
}

}  // namespace tern::backend::split
