#include <fmt/format.h>
#include <tern/error.h>

#include <algorithm>
#include <map>

#include "backend/runtime_impl.h"
#include "base/memory.h"
#include "models/architecture.h"
#include "models/model_impl.h"

namespace tern {
namespace {

// Sizes, the common format, and what one token reads and computes.
void measure(const graph::Graph& graph, std::span<const gguf::Tensor> tensors, ModelInfo& info) {
    std::map<DType, std::uint64_t> by_format;
    for (const gguf::Tensor& t : tensors) {
        info.parameters += t.elements();
        info.weight_bytes += t.bytes;
        by_format[t.dtype] += t.bytes;
    }
    const auto most = std::max_element(by_format.begin(), by_format.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    if (most != by_format.end()) info.format = to_string(most->first);
    for (const graph::Op& op : graph.ops()) {
        if (!op.weight) continue;
        if (op.kind == graph::OpKind::embed) {
            info.token_bytes += op.weight.row_bytes();
        } else if (op.kind == graph::OpKind::linear || op.kind == graph::OpKind::linear_heads) {
            info.token_bytes += op.weight.bytes();
            info.token_flops += 2 * op.weight.slabs * op.weight.rows * op.weight.cols;
        } else if (op.kind == graph::OpKind::linear_experts) {
            const std::uint64_t used = graph.info(op.in[1]).per_row;
            info.token_bytes += op.weight.bytes() / op.weight.slabs * used;
            info.token_flops += 2 * op.weight.rows * op.weight.cols * used;
            info.experts = static_cast<std::uint32_t>(op.weight.slabs);
            info.experts_used = static_cast<std::uint32_t>(used);
            info.expert_bytes += op.weight.bytes();
        } else {
            info.token_bytes += op.weight.bytes();
        }
    }
}

void take_budget(Model::Impl& impl, std::uint64_t bytes, const std::string& name) {
    base::Budget& budget = impl.runtime.impl()->budget;
    if (!budget.take(bytes))
        throw Error(ErrorCode::out_of_memory,
                    fmt::format("the weights of '{}' need {:.0f} MiB, and {:.0f} of the memory budget's {:.0f} MiB are left; a "
                                "format of fewer bits, or a larger budget, would fit",
                                name, static_cast<double>(bytes) / MiB, static_cast<double>(budget.left()) / MiB,
                                static_cast<double>(budget.limit()) / MiB));
    impl.budget = base::Share(budget, bytes);
}

std::shared_ptr<Model::Impl> define(const Runtime& runtime, gguf::File file, std::span<const gguf::Tensor> tensors,
                                    const TokenizerOptions& tokenizer) {
    auto impl = std::make_shared<Model::Impl>(runtime);
    models::Loader loader(file, tensors.empty() ? file.tensors() : tensors);
    if (file.tensors().empty() && tensors.empty())
        loader.fail("the file holds no tensors (a vocabulary only); it cannot be run");
    models::Definition model = models::find_architecture(loader.architecture(), file.name()).define(loader);
    loader.check_all_used();
    model.info.encoder = !model.graph.causal();
    model.info.pooling = models::pooling_of(loader, model.info.encoder ? Pooling::mean : Pooling::last);
    impl->tokenizer = Tokenizer::from_gguf(file, tokenizer);
    if (impl->tokenizer->kind() != TokenizerKind::none && impl->tokenizer->vocab_size() > model.info.vocab_size)
        loader.fail(fmt::format("the vocabulary has {} tokens, but token_embd.weight only {} rows",
                                impl->tokenizer->vocab_size(), model.info.vocab_size));
    measure(model.graph, tensors.empty() ? file.tensors() : tensors, model.info);
    model.info.architecture = loader.architecture();
    model.info.name =
        file.string_or("general.name", std::filesystem::path(file.name()).stem().string());
    take_budget(*impl, model.info.weight_bytes, file.name());
    impl->info = std::move(model.info);
    impl->graph = std::move(model.graph);
    impl->file = std::move(file);
    return impl;
}

// Touches every page of the weights, reporting progress.
void preload(const gguf::File& file, const std::function<bool(double)>& progress) {
    constexpr std::uint64_t kPage = 4096, kReport = 8 * MiB;
    std::uint64_t total = 0, done = 0;
    for (const gguf::Tensor& t : file.tensors()) total += t.bytes;
    const auto report = [&] {
        if (progress && !progress(total ? static_cast<double>(done) / static_cast<double>(total) : 1.0))
            throw Error(ErrorCode::cancelled, fmt::format("loading of '{}' was cancelled", file.name()));
    };
    unsigned sum = 0;
    for (const gguf::Tensor& t : file.tensors())
        for (std::uint64_t at = 0; at < t.bytes; at += kPage, done += std::min(kPage, t.bytes - (at - kPage))) {
            if (at % kReport == 0) report();
            sum += static_cast<unsigned>(*static_cast<const volatile std::byte*>(t.data + at));
        }
    done = total;
    report();
    (void)sum;
}

// Of each file of a set its weights, which stand together.
void lock_weights(std::span<const gguf::Tensor> tensors, const std::string& name) {
    for (std::size_t i = 0; i < tensors.size();) {
        const std::uint32_t split = tensors[i].split;
        const std::byte *begin = tensors[i].data, *end = begin;
        for (; i < tensors.size() && tensors[i].split == split; ++i) {
            begin = std::min(begin, tensors[i].data);
            end = std::max(end, tensors[i].data + tensors[i].bytes);
        }
        base::lock_memory({begin, end}, fmt::format("'{}'", name));
    }
}

}  // namespace

Model Model::load(const Runtime& runtime, const std::filesystem::path& path, const ModelOptions& options) {
    return load(runtime, gguf::File::open(path, {.map = options.map}), options);
}

Model Model::load(const Runtime& runtime, gguf::File file, const ModelOptions& options) {
    auto impl = define(runtime, std::move(file), {}, options.tokenizer);
    if (options.preload) preload(*impl->file, options.progress);
    if (options.lock) lock_weights(impl->file->tensors(), impl->file->name());
    runtime.impl()->log(LogLevel::info, fmt::format("loaded {} ({}, {}, {:.1f} MiB)", impl->info.name,
                                                    impl->info.architecture, impl->info.format,
                                                    static_cast<double>(impl->info.weight_bytes) / MiB));
    return Model(std::move(impl));
}

Model Model::random(const Runtime& runtime, const RandomModel& spec) {
    models::RandomWeights weights = models::make_random(spec);
    auto impl = define(runtime, std::move(weights.file), weights.tensors, {});
    if (spec.lock) lock_weights(weights.tensors, impl->info.name);
    impl->memory = std::move(weights.memory);
    return Model(std::move(impl));
}

const char* to_string(Pooling pooling) noexcept {
    switch (pooling) {
        case Pooling::mean: return "mean";
        case Pooling::cls: return "cls";
        case Pooling::last: return "last";
        case Pooling::rank: return "rank";
    }
    return "unknown";
}

const ModelInfo& Model::info() const noexcept { return impl_->info; }
const Tokenizer& Model::tokenizer() const noexcept { return *impl_->tokenizer; }
const Runtime& Model::runtime() const noexcept { return impl_->runtime; }

std::optional<std::string> Model::chat_template() const {
    const gguf::Value* value = impl_->file->find("tokenizer.chat_template");
    if (!value) return std::nullopt;
    return std::string(value->as_string());
}

}  // namespace tern
