#include "engine/machine.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/runtime_impl.h"
#include "base/memory.h"
#include "kernels/kernel.h"
#include "models/model_impl.h"

namespace tern::engine {
namespace {

constexpr std::uint32_t kMaxBatch = 1u << 16;
constexpr std::uint32_t kMaxSequences = 1u << 16;
constexpr std::uint32_t kPage = kernels::kPageTokens;

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(MiB); }

}  // namespace

Machine::Machine(Model model, const MachineOptions& options) : model_(std::move(model)), batch_(options.batch) {
    if (options.batch == 0 || options.batch > kMaxBatch)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("batch is {}; it must be between 1 and {}", options.batch, kMaxBatch));
    if (options.sequences == 0 || options.sequences > kMaxSequences)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("sequences is {}; it must be between 1 and {}", options.sequences, kMaxSequences));
    const Model::Impl& impl = *model_.impl();
    const std::uint64_t page_bytes = std::max<std::uint64_t>(1, backend::kv_page_bytes(impl.graph, options.kv_type));
    const std::uint64_t available = base::available_memory();
    const std::uint64_t wanted = options.context ? options.context : model_.info().context_length;
    const auto pages_for = [](std::uint64_t context) { return (context + kPage - 1) / kPage; };

    std::uint64_t pages = pages_for(wanted) * options.sequences;
    std::uint64_t context = wanted;
    const std::uint64_t room = options.kv_memory ? options.kv_memory : available ? available : pages * page_bytes;
    if (options.kv_memory) pages = std::min<std::uint64_t>(pages, options.kv_memory / page_bytes);
    if (pages > room / page_bytes || pages < pages_for(wanted) * options.sequences) {
        const std::uint64_t fits = room / page_bytes / options.sequences * kPage;
        if (options.context != 0 || fits == 0)
            throw Error(ErrorCode::out_of_memory,
                        fmt::format("a context of {} for {} sequence{} needs {:.0f} MiB for the KV cache, and {:.0f} MiB {}; "
                                    "{}",
                                    wanted, options.sequences, options.sequences == 1 ? "" : "s",
                                    mib(pages_for(wanted) * options.sequences * page_bytes), mib(room),
                                    options.kv_memory ? "were allowed" : "are available",
                                    fits ? fmt::format("a context of {} fits", fits)
                                         : std::string("not even one page of 64 positions fits")));
        context = std::min(wanted, fits);
        pages = pages_for(context) * options.sequences;
        impl.runtime.impl()->log(LogLevel::warning,
                                 fmt::format("context reduced from {} to {}: the KV cache of the whole would not fit in {:.0f} MiB",
                                             wanted, context, mib(room)));
    }
    if (pages > UINT32_MAX) throw Error(ErrorCode::invalid_argument, "the context is too large");
    context_ = static_cast<std::uint32_t>(context);
    batch_ = std::min(batch_, std::max<std::uint32_t>(context_, options.sequences));
    few_ = std::min(batch_, std::max<std::uint32_t>(options.sequences, 16));
    backend::Backend& backend = *impl.runtime.impl()->backend;
    kv_ = backend.make_kv(impl.graph, options.kv_type, static_cast<std::uint32_t>(pages));
    pool_ = kv::PagePool(static_cast<std::uint32_t>(pages));
    program_ = backend.compile(impl.graph, {batch_, few_, context_});
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
    if (batch.outputs.size() <= few_) return program_->run(batch, *kv_);
    const Model::Impl& impl = *model_.impl();
    if (!all_outputs_) all_outputs_ = impl.runtime.impl()->backend->compile(impl.graph, {batch_, batch_, context_});
    return all_outputs_->run(batch, *kv_);
}

}  // namespace tern::engine
