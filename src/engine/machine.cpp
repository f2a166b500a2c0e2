#include "engine/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "backend/runtime_impl.h"
#include "base/memory.h"
#include "models/model_impl.h"

namespace tern::engine {
namespace {

constexpr std::uint32_t kMaxBatch = 1u << 16;
constexpr std::uint32_t kMaxSequences = 1u << 16;

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(MiB); }

// Pages of all groups that a sequence of `context` positions takes.
std::uint64_t sequence_pages(const backend::KvGroups& groups, std::uint64_t context) {
    return (context + kv::page_positions() - 1) / kv::page_positions() * groups.count();
}

// What a user could do instead, each with its number.
std::string advice(const Model& model, const MachineOptions& options, const MachinePlan& plan) {
    std::string text;
    const MemoryPlan& m = plan.memory;
    if (m.max_context > 0) text = fmt::format("a context of {} would fit", m.max_context);
    if (options.sequences > 1 && m.max_parallel > 0)
        text += fmt::format("{}{} sequence{} of {}", text.empty() ? "" : ", or ", m.max_parallel,
                            m.max_parallel == 1 ? "" : "s", m.context);
    if (options.kv_type == KvType::f32 || options.kv_type == KvType::f16) {
        MachineOptions shorter = options;
        shorter.kv_type = KvType::q8_0;
        if (plan_machine(model, shorter).memory.fits) text += fmt::format("{}KV type q8_0", text.empty() ? "" : ", or ");
    }
    if (text.empty()) text = "a smaller model, or a format of fewer bits, would need less";
    return text;
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
    MachinePlan plan;
    plan.groups = backend::kv_groups(impl.graph, options.kv_type);
    const std::uint64_t page_bytes = std::max<std::uint64_t>(1, plan.groups.page_bytes);
    MemoryPlan& m = plan.memory;
    m.weights = model.info().weight_bytes;
    m.park = options.park_memory;
    m.kv_per_token = plan.groups.page_bytes * plan.groups.count() / kv::page_positions();

    // What the KV cache may take. The weights are counted against a budget by the model; without a budget they are the
    // system's page cache, which gives way.
    const base::Budget& budget = impl.runtime.impl()->budget;
    const std::uint64_t available = base::available_memory();
    constexpr std::uint64_t kUnknown = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t room = available ? available : kUnknown;
    m.budget = available;
    if (budget.limit() != 0) {
        room = budget.left();
        m.budget = room + m.weights;
    }
    const std::uint64_t wanted = options.context ? options.context : model.info().context_length;
    if (const std::uint64_t most = impl.graph.max_positions(); most != 0 && wanted > most)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("a context of {} was asked for, but '{}' has learned {} positions and knows no others; ask for "
                                "{} at most",
                                wanted, model.info().name, most, most));
    const auto sizes = [&](std::uint64_t context) {
        plan.context = static_cast<std::uint32_t>(std::min<std::uint64_t>(context, 0xffffffffu));
        plan.batch = std::min(options.batch, std::max(plan.context, options.sequences));
        plan.outputs = std::min(plan.batch, std::max<std::uint32_t>(options.outputs, 1));
        m.scratch = impl.runtime.impl()->backend->scratch_bytes(impl.graph, {plan.batch, plan.outputs, plan.context});
    };
    sizes(wanted);
    const std::uint64_t beside = std::min(room, m.scratch + m.park);
    const std::uint64_t kv_room = std::min(room - beside, options.kv_memory ? options.kv_memory : kUnknown);
    const auto fitting = [&](std::uint64_t sequences) {
        return kv_room / page_bytes / sequences / plan.groups.count() * kv::page_positions();
    };
    if (options.context == 0 && fitting(options.sequences) < wanted && fitting(options.sequences) > 0) {
        sizes(fitting(options.sequences));
        plan.reduced = true;
    }
    const std::uint64_t own = sequence_pages(plan.groups, plan.context);
    const std::uint64_t pages = options.kv_memory ? options.kv_memory / page_bytes : own * options.sequences;
    plan.pages = static_cast<std::uint32_t>(std::min<std::uint64_t>(pages, 0xfffffffeu));
    m.kv = plan.pages * page_bytes;
    m.kv_positions = std::uint64_t{plan.pages} / plan.groups.count() * kv::page_positions();
    m.total = m.weights + m.kv + m.scratch + m.park;
    m.context = plan.context;
    m.parallel = static_cast<std::uint32_t>(std::min<std::uint64_t>(plan.pages / own, kMaxSequences));
    m.max_context = static_cast<std::uint32_t>(std::min<std::uint64_t>(fitting(1), model.info().context_length));
    m.max_parallel = static_cast<std::uint32_t>(std::min<std::uint64_t>(kv_room / page_bytes / own, kMaxSequences));
    m.fits = pages <= 0xfffffffeu && own * options.sequences <= pages && room - beside >= m.kv &&
             room >= m.scratch + m.park;
    return plan;
}

Machine::Machine(Model model, const MachineOptions& options)
    : model_(std::move(model)), plan_(plan_machine(model_, options)) {
    const Model::Impl& impl = *model_.impl();
    if (!impl.graph.causal())
        throw Error(ErrorCode::unsupported,
                    fmt::format("'{}' ({}) is an encoder: it makes embeddings, not text; use Embedder, or tern embed",
                                model_.info().name, model_.info().architecture));
    const MemoryPlan& m = plan_.memory;
    if (!m.fits) {
        const base::Budget& budget = impl.runtime.impl()->budget;
        const std::uint64_t need = sequence_pages(plan_.groups, plan_.context) * options.sequences * plan_.groups.page_bytes;
        throw Error(ErrorCode::out_of_memory,
                    fmt::format("a context of {} for {} sequence{} needs {:.0f} MiB for the KV cache{} and {:.0f} MiB for "
                                "intermediate results, and {}; {}",
                                plan_.context, options.sequences, options.sequences == 1 ? "" : "s", mib(need),
                                m.park ? fmt::format(", {:.0f} MiB for parked sequences", mib(m.park)) : std::string(),
                                mib(m.scratch),
                                options.kv_memory && need > options.kv_memory
                                    ? fmt::format("{:.0f} MiB were allowed for the KV cache", mib(options.kv_memory))
                                    : fmt::format("{:.0f} MiB {}", mib(budget.limit() ? budget.left() : m.budget),
                                                  budget.limit() ? "of the memory budget are left" : "are available"),
                                advice(model_, options, plan_)));
    }
    if (!impl.runtime.impl()->budget.take(m.kv + m.scratch + m.park))
        throw Error(ErrorCode::out_of_memory, "another engine has just taken what was left of the memory budget");
    budget_ = base::Share(impl.runtime.impl()->budget, m.kv + m.scratch + m.park);
    if (plan_.reduced)
        impl.runtime.impl()->log(LogLevel::warning,
                                 fmt::format("context reduced from {} to {}: the KV cache of the whole would not fit",
                                             model_.info().context_length, plan_.context));
    backend::Backend& backend = *impl.runtime.impl()->backend;
    kv_ = backend.make_kv(impl.graph, options.kv_type, plan_.pages);
    pool_ = kv::PagePool(plan_.pages);
    program_ = backend.compile(impl.graph, {plan_.batch, plan_.outputs, plan_.context});
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
    const Model::Impl& impl = *model_.impl();
    if (!all_outputs_)
        all_outputs_ = impl.runtime.impl()->backend->compile(impl.graph, {plan_.batch, plan_.batch, plan_.context});
    return all_outputs_->run(batch, *kv_);
}

}  // namespace tern::engine
