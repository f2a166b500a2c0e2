#include "engine/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "backend/runtime_impl.h"
#include "base/hash.h"
#include "base/memory.h"
#include "models/model_impl.h"

namespace tern::engine {
namespace {

constexpr std::uint32_t kMaxBatch = 1u << 16;
constexpr std::uint32_t kMaxSequences = 1u << 16;

std::string layer_count(std::uint32_t n) { return fmt::format("{} layer{}", n, n == 1 ? "" : "s"); }
double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(MiB); }

// Pages of all groups that a sequence of `context` positions takes.
std::uint64_t sequence_pages(const backend::KvGroups& groups, std::uint64_t context) {
    return (context + kv::page_positions() - 1) / kv::page_positions() * groups.count();
}

// Where a number of layers was asked for.
std::string fewer_layers(const MemoryPlan& m) {
    return fmt::format("{} on devices (gpu_layers {}), or as many as fit where the number is left out",
                       m.layers_fit == 0 ? "no layers" : "fewer layers", m.layers_fit);
}

// What a user could do instead, each with its number.
std::string advice(const Model& model, const MachineOptions& options, const MachinePlan& plan) {
    std::string text;
    const MemoryPlan& m = plan.memory;
    if (m.max_context > 0) text = fmt::format("a context of {} would fit", m.max_context);
    if (options.sequences > 1 && m.max_parallel > 0)
        text += fmt::format("{}{} sequence{} of {}", text.empty() ? "" : ", or ", m.max_parallel,
                            m.max_parallel == 1 ? "" : "s", m.context);
    const std::optional<std::uint32_t> asked = model.impl()->runtime.impl()->options.gpu_layers;
    if (asked && m.layers_fit < *asked)
        text += fmt::format("{}{}", text.empty() ? "" : ", or ", fewer_layers(m));
    if (options.kv_type == KvType::f32 || options.kv_type == KvType::f16) {
        MachineOptions shorter = options;
        shorter.kv_type = KvType::q8_0;
        if (plan_machine(model, shorter).memory.fits) text += fmt::format("{}KV type q8_0", text.empty() ? "" : ", or ");
    }
    if (text.empty()) text = "a smaller model, or a format of fewer bits, would need less";
    return text;
}

using backend::split::Layout;
using Backends = std::vector<std::unique_ptr<backend::Backend>>;
constexpr std::uint64_t kUnknown = std::numeric_limits<std::uint64_t>::max();
// A context that nobody asked for gets shorter down to this before layers leave the devices.
constexpr std::uint64_t kKeptContext = 8192;

// Memory that several parts take from, and how many KV pages it has room for.
struct Room {
    std::uint64_t bytes = kUnknown;   // in all
    std::uint64_t beside = 0;         // what is no KV cache
    std::uint64_t page_bytes = 0;
    std::uint64_t most_pages = kUnknown;  // whatever the bytes

    std::uint64_t pages() const noexcept {
        return page_bytes == 0 ? kUnknown
                               : std::min(most_pages, (bytes - std::min(bytes, beside)) / page_bytes);
    }
    bool holds(std::uint64_t pages_wanted) const noexcept { return bytes >= beside && pages() >= pages_wanted; }
};

// What a layout takes for contexts of one length.
struct Sizes {
    backend::Limits limits;
    std::uint64_t own_pages = 0;   // of a sequence
    std::uint64_t pages = 0;       // that will be taken
    std::uint64_t page_bytes = 0;  // of all parts
    std::uint64_t scratch = 0;
    Room host, budget;
    std::vector<Room> of_part;     // of the device that it lies on; boundless for the CPU, which takes of the host's
    std::vector<DevicePlan> parts;
    std::vector<std::optional<backend::Obstacle>> obstacles;  // of the parts
    std::vector<backend::PageLimit> page_limits;
    std::string fewer_pages;  // why there are fewer than kv_memory has room for; empty: there are not

    // Of the KV cache, wherever it lies.
    std::uint64_t pages_room() const noexcept {
        std::uint64_t least = std::min(host.pages(), budget.pages());
        for (const Room& room : of_part) least = std::min(least, room.pages());
        return least;
    }
    bool devices_hold() const noexcept {
        for (std::size_t i = 0; i < parts.size(); ++i)
            if (obstacles[i] || !of_part[i].holds(pages)) return false;
        return true;
    }
    // What but its memory keeps a part from its device; empty: nothing.
    std::string why_not(std::size_t i) const {
        if (obstacles[i]) return obstacles[i]->text;
        return pages > of_part[i].most_pages ? page_limits[i].why : std::string();
    }
    std::string why_not() const {
        for (std::size_t i = 0; i < parts.size(); ++i)
            if (std::string why = why_not(i); !why.empty()) return why;
        return {};
    }
    bool all_hold() const noexcept { return devices_hold() && host.holds(pages) && budget.holds(pages); }
};

class Planner {
public:
    Planner(const Model& model, const MachineOptions& options)
        : impl_(*model.impl()), options_(options), backends_(impl_.runtime.impl()->backends),
          groups_(backend::kv_groups(impl_.graph, options.kv_type)), available_(base::available_memory()) {
        // Once, so that all layouts are compared over the same numbers, which other programs change.
        for (const auto& backend : backends_) places_.push_back(backend->place());
        for (std::size_t i = 1; i < places_.size(); ++i) device_memory_.push_back(free_memory(places_[i]));
    }

    const backend::KvGroups& groups() const noexcept { return groups_; }
    std::uint64_t available() const noexcept { return available_; }
    std::uint32_t layers() const noexcept { return static_cast<std::uint32_t>(impl_.graph.kv_layers().size()); }
    bool has_devices() const noexcept { return backends_.size() > 1; }

    Layout layout(std::uint64_t device_layers) const {
        if (!has_devices()) return {.layers = {layers()}};
        return backend::split::last_layers(layers(), device_layers, device_memory_);
    }

    Sizes sizes(const Layout& layout, std::uint64_t context) const {
        Sizes s;
        s.limits.max_context = static_cast<std::uint32_t>(std::min<std::uint64_t>(context, 0xffffffffu));
        s.limits.max_tokens = std::min(options_.batch, std::max(s.limits.max_context, options_.sequences));
        s.limits.max_outputs = std::min(s.limits.max_tokens, std::max<std::uint32_t>(options_.outputs, 1));
        if (available_ != 0) s.host.bytes = available_;
        const base::Budget& budget = impl_.runtime.impl()->budget;
        // The weights are counted against a budget by the model; without a budget they are the system's page cache, which
        // gives way.
        if (budget.limit() != 0) {
            s.budget.bytes = budget.left();
            s.host.bytes = kUnknown;
        }
        s.host.beside = s.budget.beside = options_.park_memory;
        const backend::split::Parts parts(backends_, impl_.graph, groups_, options_.kv_type, layout);
        for (const backend::split::Part& part : parts.parts()) {
            backend::Limits limits = s.limits;
            limits.kv_groups = part.groups.count();
            const std::uint64_t scratch = part.backend->scratch_bytes(*part.graph, limits);
            const std::uint64_t page = part.backend->page_bytes(*part.graph, part.groups, options_.kv_type);
            const backend::WeightBytes weights = part.backend->weight_bytes(*part.graph);
            const backend::Place& place = places_[part.index];
            const auto take = [&](Room& room) {
                room.beside += scratch;
                room.page_bytes += page;
            };
            Room own;
            DevicePlan plan{.backend = part.backend->name(), .device = place.name, .layers = part.layers,
                            .weights = weights.all, .kv = page, .scratch = scratch, .memory = 0, .copied = place.device};
            if (place.device) {
                take(own);
                own.beside += weights.all - weights.there;
                if (place.memory != 0) own.bytes = free_memory(place);
                plan.memory = place.memory == 0 ? 0 : own.bytes + weights.there;
            } else {
                plan.memory = available_;
            }
            if (!place.device || place.shares_memory) take(s.host);
            if (place.device && place.shares_memory) s.host.beside += weights.all - weights.there;
            backend::PageLimit pages = part.backend->page_limit(*part.graph, part.groups, options_.kv_type);
            own.most_pages = pages.pages;
            s.page_limits.push_back(std::move(pages));
            s.obstacles.push_back(part.backend->obstacle(*part.graph, limits));
            take(s.budget);
            s.page_bytes += page;
            s.scratch += scratch;
            s.of_part.push_back(own);
            s.parts.push_back(std::move(plan));
        }
        s.own_pages = sequence_pages(groups_, s.limits.max_context);
        s.pages = options_.kv_memory ? options_.kv_memory / std::max<std::uint64_t>(1, s.page_bytes)
                                     : s.own_pages * options_.sequences;
        // A cache that is smaller than allowed serves better than one on the CPU, if it holds what must fit
        // at once.
        if (options_.kv_memory) {
            const std::uint64_t least = std::min(s.pages, s.own_pages * options_.sequences);
            for (const backend::PageLimit& limit : s.page_limits)
                if (limit.pages < s.pages && limit.pages >= least) {
                    s.pages = limit.pages;
                    s.fewer_pages = limit.why;
                }
        }
        return s;
    }

    // The longest context that `sequences` sequences can have beside what else `s` takes.
    std::uint64_t fitting(const Sizes& s, std::uint64_t sequences) const noexcept {
        return kv_pages(s) / sequences / groups_.count() * kv::page_positions();
    }
    // Pages for which there is room, and which are allowed.
    std::uint64_t kv_pages(const Sizes& s) const noexcept {
        const std::uint64_t allowed =
            options_.kv_memory ? options_.kv_memory / std::max<std::uint64_t>(1, s.page_bytes) : kUnknown;
        return std::min(s.pages_room(), allowed);
    }

private:
    static std::uint64_t free_memory(const backend::Place& place) noexcept {
        const std::uint64_t not_free = place.taken + place.reserve;
        return place.memory - std::min(place.memory, not_free);
    }

    const Model::Impl& impl_;
    const MachineOptions& options_;
    const Backends& backends_;
    const backend::KvGroups groups_;
    const std::uint64_t available_;
    std::vector<backend::Place> places_;
    std::vector<std::uint64_t> device_memory_;
};

// The most layers, one more for what comes before them, that devices hold with this context; not all of them.
std::uint64_t most_layers(const Planner& planner, std::uint64_t context, bool divisible) {
    std::uint64_t fits = 0, no = divisible ? std::uint64_t{planner.layers()} + 1 : 1;
    while (no - fits > 1) {
        const std::uint64_t middle = fits + (no - fits) / 2;
        (planner.sizes(planner.layout(middle), context).devices_hold() ? fits : no) = middle;
    }
    return fits;
}

// What the devices hold of a model where the number of layers was left to the plan, and the context for which they do.
struct Choice {
    Layout layout;
    std::uint64_t context = 0;
    std::string why_left;  // what but memory keeps the next layer from them
};
Choice choose_layout(const Planner& planner, const MachineOptions& options, std::uint64_t wanted,
                     bool divisible) {
    const std::uint64_t all = std::uint64_t{planner.layers()} + 1;
    const auto hold = [&](std::uint64_t layers, std::uint64_t context) {
        return planner.sizes(planner.layout(layers), context).devices_hold();
    };
    if (hold(all, wanted)) return {planner.layout(all), wanted, {}};
    // Lengths differ by whole pages.
    const std::uint64_t page = kv::page_positions();
    const std::uint64_t kept = options.context == 0 ? std::min(wanted, kKeptContext) : wanted;
    if (kept < wanted && hold(all, kept)) {
        std::uint64_t fits = kept / page, no = (wanted + page - 1) / page;
        while (no - fits > 1) {
            const std::uint64_t middle = fits + (no - fits) / 2;
            (hold(all, middle * page) ? fits : no) = middle;
        }
        return {planner.layout(all), std::max(kept, fits * page), {}};
    }
    const std::uint64_t fits = most_layers(planner, kept, divisible);
    std::string why = planner.sizes(planner.layout(divisible ? fits + 1 : all), kept).why_not();
    // Where nothing lies on a device, its memory is no reason for a shorter context.
    return {planner.layout(fits), fits > 0 ? kept : wanted, std::move(why)};
}

}  // namespace

MachinePlan plan_machine(const Model& model, const MachineOptions& options) {
    if (options.batch == 0 || options.batch > kMaxBatch)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("batch is {}; it must be between 1 and {}", options.batch, kMaxBatch));
    if (options.sequences == 0 || options.sequences > kMaxSequences)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("sequences is {}; it must be between 1 and {}", options.sequences, kMaxSequences));
    const Model::Impl& impl = *model.impl();
    const Planner planner(model, options);
    MachinePlan plan;
    plan.groups = planner.groups();
    const std::uint64_t wanted = options.context ? options.context : model.info().context_length;
    if (const std::uint64_t most = impl.graph.max_positions(); most != 0 && wanted > most)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("a context of {} was asked for, but '{}' has learned {} positions and knows no others; ask for "
                                "{} at most",
                                wanted, model.info().name, most, most));
    std::uint64_t context = wanted;
    const std::optional<std::uint32_t> device_layers = impl.runtime.impl()->options.gpu_layers;
    if (!planner.has_devices() || device_layers) {
        plan.layout = planner.layout(device_layers.value_or(0));
    } else {
        plan.divisible = backend::split::can_split(impl.graph);
        Choice choice = choose_layout(planner, options, wanted, plan.divisible);
        plan.layout = std::move(choice.layout);
        context = choice.context;
        plan.memory.why_left = std::move(choice.why_left);
    }
    Sizes sizes = planner.sizes(plan.layout, context);
    if (options.context == 0 && planner.fitting(sizes, options.sequences) < context &&
        planner.fitting(sizes, options.sequences) > 0)
        sizes = planner.sizes(plan.layout, planner.fitting(sizes, options.sequences));
    plan.reduced = sizes.limits.max_context < std::min<std::uint64_t>(wanted, 0xffffffffu);
    plan.context = sizes.limits.max_context;
    if (plan.reduced)
        plan.why_reduced = planner.sizes(plan.layout, plan.context + kv::page_positions()).why_not();
    plan.batch = sizes.limits.max_tokens;
    plan.outputs = sizes.limits.max_outputs;
    plan.page_bytes = sizes.page_bytes;
    plan.pages = static_cast<std::uint32_t>(std::min<std::uint64_t>(sizes.pages, 0xfffffffeu));

    MemoryPlan& m = plan.memory;
    const base::Budget& budget = impl.runtime.impl()->budget;
    m.weights = model.info().weight_bytes;
    m.budget = budget.limit() ? budget.left() + m.weights : planner.available();
    m.scratch = sizes.scratch;
    m.park = options.park_memory;
    m.kv_per_token = plan.page_bytes * plan.groups.count() / kv::page_positions();
    m.kv = plan.pages * plan.page_bytes;
    m.kv_positions = std::uint64_t{plan.pages} / plan.groups.count() * kv::page_positions();
    m.total = m.weights + m.kv + m.scratch + m.park;
    m.context = plan.context;
    m.parallel = static_cast<std::uint32_t>(std::min<std::uint64_t>(plan.pages / sizes.own_pages, kMaxSequences));
    m.max_context =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(planner.fitting(sizes, 1), model.info().context_length));
    m.max_parallel =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(planner.kv_pages(sizes) / sizes.own_pages, kMaxSequences));
    m.fits = sizes.pages <= 0xfffffffeu && sizes.own_pages * options.sequences <= sizes.pages && sizes.all_hold();
    m.less_kv = sizes.fewer_pages;
    m.devices = std::move(sizes.parts);
    for (std::size_t i = 0; i < m.devices.size(); ++i) {
        m.devices[i].kv *= plan.pages;
        m.devices[i].obstacle = sizes.why_not(i);
        m.devices[i].fits = m.devices[i].obstacle.empty() && sizes.of_part[i].holds(plan.pages) &&
                            (m.devices[i].copied || sizes.host.holds(plan.pages));
        if (!plan.obstacle) plan.obstacle = sizes.obstacles[i];
    }
    if (planner.has_devices() && !device_layers) m.layers_left = plan.layout.layers[0];
    if (device_layers && !m.fits && planner.has_devices())
        m.layers_fit = static_cast<std::uint32_t>(std::min<std::uint64_t>(
            *device_layers, most_layers(planner, plan.context, backend::split::can_split(impl.graph))));
    return plan;
}

namespace {

// Which part of a plan does not fit where, and what there is.
std::string shortage(const MemoryPlan& m, const base::Budget& budget) {
    if (budget.limit() != 0 && m.total > m.budget)
        return fmt::format("{:.0f} MiB of the memory budget are left", mib(budget.left()));
    for (const DevicePlan& d : m.devices)
        if (!d.obstacle.empty())
            return d.obstacle;
        else if (!d.fits && d.copied)
            return fmt::format("on {} {:.0f} MiB for the weights of {} and their share of these exceed the {:.0f} MiB that are free",
                               d.device, mib(d.weights), layer_count(d.layers), mib(d.memory));
    return fmt::format("{:.0f} MiB are available", mib(m.budget));
}

}  // namespace

Machine::Machine(Model model, const MachineOptions& options)
    : model_(std::move(model)), plan_(plan_machine(model_, options)) {
    const Model::Impl& impl = *model_.impl();
    if (!impl.graph.causal())
        throw Error(ErrorCode::unsupported,
                    fmt::format("'{}' ({}) is an encoder: it makes embeddings, not text; use Embedder, or tern embed",
                                model_.info().name, model_.info().architecture));
    const MemoryPlan& m = plan_.memory;
    if (plan_.obstacle)
        throw Error(plan_.obstacle->code, m.devices.size() == 1 && impl.runtime.impl()->backends.size() == 1
                                              ? plan_.obstacle->text
                                              : fmt::format("{}; {}", plan_.obstacle->text, fewer_layers(m)));
    if (!m.fits) {
        const base::Budget& budget = impl.runtime.impl()->budget;
        const std::uint64_t need = sequence_pages(plan_.groups, plan_.context) * options.sequences * plan_.page_bytes;
        throw Error(ErrorCode::out_of_memory,
                    fmt::format("a context of {} for {} sequence{} needs {:.0f} MiB for the KV cache{} and {:.0f} MiB for "
                                "intermediate results, and {}; {}",
                                plan_.context, options.sequences, options.sequences == 1 ? "" : "s", mib(need),
                                m.park ? fmt::format(", {:.0f} MiB for parked sequences", mib(m.park)) : std::string(),
                                mib(m.scratch),
                                options.kv_memory && need > options.kv_memory
                                    ? fmt::format("{:.0f} MiB were allowed for the KV cache", mib(options.kv_memory))
                                    : shortage(m, budget),
                                advice(model_, options, plan_)));
    }
    if (!impl.runtime.impl()->budget.take(m.kv + m.scratch + m.park))
        throw Error(ErrorCode::out_of_memory, "another engine has just taken what was left of the memory budget");
    budget_ = base::Share(impl.runtime.impl()->budget, m.kv + m.scratch + m.park);
    if (plan_.reduced)
        impl.runtime.impl()->log(
            LogLevel::warning,
            fmt::format(
                "context reduced from {} to {}: {}", model_.info().context_length, plan_.context,
                plan_.why_reduced.empty() ? "the KV cache of the whole would not fit" : plan_.why_reduced));
    if (!m.less_kv.empty())
        impl.runtime.impl()->log(LogLevel::warning,
                                 fmt::format("the KV cache takes {:.0f} MiB of the {:.0f} that it may: {}",
                                             mib(m.kv), mib(options.kv_memory), m.less_kv));
    log_layout();
    parts_ = backend::split::Parts(impl.runtime.impl()->backends, impl.graph, plan_.groups, options.kv_type, plan_.layout);
    kv_ = parts_.make_kv(plan_.pages);
    pool_ = kv::PagePool(plan_.pages);
    program_ = parts_.compile({plan_.batch, plan_.outputs, plan_.context}, options.progress);
}

void Machine::log_layout() const {
    const MemoryPlan& m = plan_.memory;
    Runtime::Impl& runtime = *model_.impl()->runtime.impl();
    if (m.devices.size() > 1) {
        std::string text;
        for (const DevicePlan& d : m.devices)
            text += fmt::format("{}{} on {} ({:.0f} MiB of weights, {:.0f} of KV cache)", text.empty() ? "" : ", ",
                                layer_count(d.layers), d.device, mib(d.weights), mib(d.kv));
        if (!m.why_left.empty())
            text += fmt::format("; no more, as {}", m.why_left);
        else if (m.layers_left > 0)
            text += "; more would not fit on the devices";
        runtime.log(LogLevel::info, text);
    } else if (m.layers_left > 0) {
        const backend::Place place = runtime.backend().place();
        runtime.log(
            LogLevel::warning,
            !m.why_left.empty() ? fmt::format("{} on the CPU: {}", layer_count(m.layers_left), m.why_left)
            : plan_.divisible
                ? fmt::format("{} on the CPU: not one fits on {} ({:.0f} MiB) with the KV cache of {} "
                              "positions; a smaller context or batch would need less",
                              layer_count(m.layers_left), place.name, mib(place.memory), plan_.context)
                : fmt::format("{} on the CPU: together they do not fit on {} ({:.0f} MiB), and this "
                              "model cannot be split between devices",
                              layer_count(m.layers_left), place.name, mib(place.memory)));
    }
}

std::uint64_t Machine::kv_identity() const {
    std::uint64_t value = models::identity(*model_.impl(), plan_.context);
    // The layers of one part lie together in a page, and each kind of device orders numbers in its own way.
    if (parts_.parts().size() == 1 && !parts_.parts()[0].backend->place().device) return value;
    for (const backend::split::Part& part : parts_.parts()) {
        const std::uint32_t numbers[] = {part.layers, part.backend->place().device ? 1u : 0u};
        value = base::hash(std::as_bytes(std::span(numbers)), value);
    }
    return value;
}

std::uint64_t Machine::scratch_bytes() const noexcept {
    return program_->scratch_bytes() + (all_outputs_ ? all_outputs_->scratch_bytes() : 0);
}

void Machine::check_tokens(std::span<const TokenId> tokens) const {
    for (std::size_t i = 0; i < tokens.size(); ++i)
        if (tokens[i] < 0 || static_cast<std::uint32_t>(tokens[i]) >= vocab_size())
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("token id {} (number {}) is outside the vocabulary of {}", tokens[i], i, vocab_size()));
}

std::span<const float> Machine::run(const backend::Batch& batch) {
    if (batch.outputs.size() <= plan_.outputs) return program_->run(batch, *kv_);
    if (!all_outputs_) all_outputs_ = parts_.compile({plan_.batch, plan_.batch, plan_.context});
    return all_outputs_->run(batch, *kv_);
}

}  // namespace tern::engine
