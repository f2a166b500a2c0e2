#include <fmt/format.h>
#include <tern/embed.h>
#include <tern/error.h>

#include <algorithm>
#include <cmath>

#include "backend/runtime_impl.h"
#include "backend/split/split.h"
#include "base/memory.h"
#include "kv/page_pool.h"
#include "models/model_impl.h"

namespace tern {
namespace {

constexpr std::uint32_t kMaxBatch = 1u << 20;

// A text has pages of its own, so that short ones leave most of theirs empty: twice what one long text would take.
std::uint64_t pages_of_batch(std::uint64_t tokens) {
    return 2 * kv::pages_for(static_cast<std::uint32_t>(tokens));
}

double mib(std::uint64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(MiB);
}

// Sums in double, in the order of the rows.
std::vector<float> mean_of(const float* rows, std::size_t count, std::size_t width) {
    std::vector<double> sum(width, 0.0);
    for (std::size_t r = 0; r < count; ++r)
        for (std::size_t i = 0; i < width; ++i) sum[i] += static_cast<double>(rows[r * width + i]);
    std::vector<float> mean(width);
    for (std::size_t i = 0; i < width; ++i) mean[i] = static_cast<float>(sum[i] / static_cast<double>(count));
    return mean;
}

void divide_by_length(std::vector<float>& x) {
    double squares = 0;
    for (const float v : x) squares += static_cast<double>(v) * static_cast<double>(v);
    if (!(squares > 0)) return;
    const double length = std::sqrt(squares);
    for (float& v : x) v = static_cast<float>(static_cast<double>(v) / length);
}

}  // namespace

struct Embedder::Impl {
    Model model;
    EmbedOptions options;
    Pooling pooling;
    graph::Graph graph;
    backend::KvGroups groups;
    std::uint32_t longest = 0;  // tokens of a text

    std::vector<std::shared_ptr<const void>> weights;  // on a device, whatever the batch

    // For batches of `capacity` tokens.
    std::uint32_t capacity = 0;
    base::Share share;
    std::unique_ptr<backend::KvMemory> kv;
    kv::PagePool pool{0};
    std::unique_ptr<backend::Program> program;

    Impl(Model m, const EmbedOptions& o) : model(std::move(m)), options(o) {
        const ModelInfo& info = model.info();
        if (o.batch == 0 || o.batch > kMaxBatch)
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("batch is {}; it must be between 1 and {}", o.batch, kMaxBatch));
        pooling = o.pooling.value_or(info.pooling);
        const bool ranks = info.encoder && info.pooling == Pooling::rank;
        if ((pooling == Pooling::rank) != ranks)
            throw Error(ErrorCode::unsupported,
                        ranks ? fmt::format("'{}' gives scores by its ranking head; pooling '{}' is not for it",
                                            info.name, to_string(pooling))
                              : fmt::format("'{}' has no ranking head (pooling 'rank'); mean, cls and last are for it",
                                            info.name));
        const graph::Graph& whole = model.impl()->graph;
        graph = info.encoder ? whole : whole.before_logits();
        groups = backend::kv_groups(graph, KvType::f32);
        std::uint64_t most = info.context_length;
        if (graph.max_positions() != 0) most = std::min(most, graph.max_positions());
        longest = static_cast<std::uint32_t>(std::min<std::uint64_t>(most, kMaxBatch));
    }

    std::size_t width() const { return graph.info(graph.logits()).cols; }
    backend::Backend& backend() const { return model.runtime().impl()->backend(); }
    bool all_rows() const { return pooling == Pooling::mean; }

    void reserve(std::uint32_t tokens) {
        if (tokens <= capacity) return;
        program.reset();
        kv.reset();
        share = base::Share();
        capacity = 0;
        const auto texts = static_cast<std::uint32_t>(pages_of_batch(tokens));
        const std::uint32_t outputs = all_rows() ? tokens : std::min(tokens, texts);
        // Angles that depend on the context must not depend on the batch.
        const bool whole = std::any_of(graph.ropes().begin(), graph.ropes().end(),
                                       [](const graph::Rope& rope) { return !rope.long_inv_freq.empty(); });
        const backend::Limits limits{tokens, outputs, whole ? std::max(tokens, longest) : tokens};
        const std::uint64_t pages = texts * std::max<std::uint64_t>(1, groups.count());
        if (const auto found = backend().obstacle(graph, limits)) throw Error(found->code, found->text);
        if (const backend::PageLimit limit = backend().page_limit(graph, groups, KvType::f32);
            pages > limit.pages)
            throw Error(ErrorCode::out_of_memory, fmt::format("{}, which is less than a batch of {} tokens "
                                                              "needs; shorter texts or a smaller batch would "
                                                              "need less",
                                                              limit.why, tokens));
        if (weights.empty()) {
            const backend::split::Part all{.backend = &backend(), .graph = &graph, .groups = {}};
            weights = backend::split::copy_weights({&all, 1}, options.progress);
        }
        const std::uint64_t bytes = pages * groups.page_bytes + backend().scratch_bytes(graph, limits);
        base::Budget& budget = model.runtime().impl()->budget;
        const std::uint64_t available = base::available_memory();
        const std::uint64_t room = std::min(budget.left(), available ? available : budget.left());
        if (bytes > room || !budget.take(bytes))
            throw Error(
                ErrorCode::out_of_memory,
                fmt::format("a batch of {} tokens needs {:.0f} MiB, and {:.0f} MiB are {}; shorter texts{} would need "
                            "less",
                            tokens, mib(bytes), mib(room),
                            budget.left() == room ? "left of the memory budget" : "available",
                            tokens <= options.batch ? " and a smaller batch" : ""));
        share = base::Share(budget, bytes);
        kv = backend().make_kv(graph, groups, KvType::f32, static_cast<std::uint32_t>(pages));
        pool = kv::PagePool(static_cast<std::uint32_t>(pages));
        program = backend().compile(graph, limits);
        capacity = tokens;
    }

    void check(std::span<const std::vector<TokenId>> texts) const {
        const std::uint32_t vocab = model.info().vocab_size;
        for (std::size_t t = 0; t < texts.size(); ++t) {
            if (texts[t].empty())
                throw Error(ErrorCode::invalid_argument, fmt::format("text {} has no tokens to embed", t));
            if (texts[t].size() > longest)
                throw Error(ErrorCode::context_full,
                            fmt::format("text {} has {} tokens, and '{}' takes at most {}; cut it into parts", t,
                                        texts[t].size(), model.info().name, longest));
            for (const TokenId id : texts[t])
                if (id < 0 || static_cast<std::uint32_t>(id) >= vocab)
                    throw Error(ErrorCode::invalid_argument,
                                fmt::format("text {}: token id {} is outside the vocabulary of {}", t, id, vocab));
        }
    }

    // Texts of together at most `capacity` tokens, and of pages_of_batch(capacity) pages.
    void run(std::span<const std::vector<TokenId>> texts, std::vector<std::vector<float>>& results) {
        std::vector<TokenId> tokens;
        std::vector<backend::Segment> segments;
        std::vector<std::uint32_t> outputs;
        std::vector<kv::PageTable> tables;
        tables.reserve(texts.size());
        for (const std::vector<TokenId>& text : texts) {
            const auto first = static_cast<std::uint32_t>(tokens.size()),
                       count = static_cast<std::uint32_t>(text.size());
            tables.emplace_back(pool, groups.count()).grow(count, *kv);
            segments.push_back({first, count, 0, tables.back().pages()});
            tokens.insert(tokens.end(), text.begin(), text.end());
            if (all_rows())
                for (std::uint32_t i = 0; i < count; ++i) outputs.push_back(first + i);
            else
                outputs.push_back(pooling == Pooling::last ? first + count - 1 : first);
        }
        const std::span<const float> rows = program->run({tokens, segments, outputs}, *kv);
        const float* row = rows.data();
        for (const std::vector<TokenId>& text : texts) {
            const std::size_t count = all_rows() ? text.size() : 1;
            std::vector<float> vector =
                all_rows() ? mean_of(row, count, width()) : std::vector<float>(row, row + width());
            if (options.normalize && pooling != Pooling::rank) divide_by_length(vector);
            results.push_back(std::move(vector));
            row += count * width();
        }
    }
};

Embedder::Embedder(Model model, const EmbedOptions& options)
    : impl_(std::make_unique<Impl>(std::move(model), options)) {}
Embedder::Embedder(Embedder&&) noexcept = default;
Embedder& Embedder::operator=(Embedder&&) noexcept = default;
Embedder::~Embedder() = default;

std::vector<std::vector<float>> Embedder::embed(std::span<const std::vector<TokenId>> texts) {
    impl_->check(texts);
    std::vector<std::vector<float>> results;
    results.reserve(texts.size());
    for (std::size_t begin = 0, end = 0; begin < texts.size(); begin = end) {
        const auto pages_of = [](const auto& text) { return kv::pages_for(static_cast<std::uint32_t>(text.size())); };
        std::uint64_t tokens = texts[end].size(), pages = pages_of(texts[end]);
        const std::uint64_t limit = std::max<std::uint64_t>(tokens, impl_->options.batch);
        for (++end; end < texts.size(); ++end) {
            tokens += texts[end].size();
            pages += pages_of(texts[end]);
            if (tokens > limit || pages > pages_of_batch(limit)) break;
        }
        impl_->reserve(static_cast<std::uint32_t>(limit));
        impl_->run(texts.subspan(begin, end - begin), results);
    }
    return results;
}

std::vector<std::vector<float>> Embedder::embed(std::span<const std::string> texts) {
    std::vector<std::vector<TokenId>> tokens;
    tokens.reserve(texts.size());
    for (const std::string& text : texts) tokens.push_back(impl_->model.tokenizer().encode(text));
    return embed(tokens);
}

Pooling Embedder::pooling() const noexcept {
    return impl_->pooling;
}
std::uint32_t Embedder::width() const noexcept {
    return static_cast<std::uint32_t>(impl_->width());
}
std::uint32_t Embedder::max_tokens() const noexcept {
    return impl_->longest;
}
const Model& Embedder::model() const noexcept {
    return impl_->model;
}

}  // namespace tern
