#include <fmt/format.h>
#include <tern/engine.h>

#include <algorithm>

#include "engine/machine.h"
#include "kv/sequence_file.h"
#include "models/model_impl.h"

namespace tern {

struct Session::Impl {
    engine::Machine machine;
    const KvType kv_type;
    std::vector<kv::PageTable> tables;
    std::vector<std::vector<TokenId>> tokens_of;  // what each sequence holds
    std::vector<float> rows;  // when one call needs several batches
    std::vector<TokenId> tokens;
    std::vector<backend::Segment> segments;
    std::vector<std::uint32_t> outputs;

    Impl(Model model, const SessionOptions& o)
        : machine(std::move(model), {.context = o.context,
                                     .sequences = o.sequences,
                                     .kv_type = o.kv_type,
                                     .batch = o.batch,
                                     .outputs = std::max<std::uint32_t>(o.sequences, 16),
                                     .progress = o.progress}),
          kv_type(o.kv_type) {
        tables.reserve(o.sequences);
        for (std::uint32_t i = 0; i < o.sequences; ++i) tables.emplace_back(machine.pool(), machine.plan().groups.count());
        tokens_of.resize(o.sequences);
    }

    kv::SequenceKind kind() const {
        return {machine.kv_identity(), kv_type, machine.plan().groups.count(), machine.plan().page_bytes};
    }

    kv::PageTable& table(std::uint32_t sequence) {
        if (sequence >= tables.size())
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("sequence {} does not exist; the session has {}", sequence, tables.size()));
        return tables[sequence];
    }
};

Session::Session(Model model, const SessionOptions& options)
    : impl_(std::make_unique<Impl>(std::move(model), options)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

std::span<const float> Session::eval(std::span<const TokenId> tokens) {
    const Append item{.sequence = 0, .tokens = tokens};
    return eval(std::span(&item, 1));
}

std::span<const float> Session::eval(std::span<const Append> items) {
    Impl& s = *impl_;
    std::size_t row_count = 0;
    std::vector<bool> named(s.tables.size(), false);
    for (const Append& item : items) {
        const kv::PageTable& table = s.table(item.sequence);
        if (item.tokens.empty()) throw Error(ErrorCode::invalid_argument, "no tokens to append");
        if (named[item.sequence])
            throw Error(ErrorCode::invalid_argument, fmt::format("sequence {} is named twice in one call", item.sequence));
        named[item.sequence] = true;
        s.machine.check_tokens(item.tokens);
        if (item.tokens.size() > s.machine.context() - table.length())
            throw Error(ErrorCode::context_full,
                        fmt::format("{} tokens do not fit: the context has {} positions and {} are taken; ask for a "
                                    "larger context",
                                    item.tokens.size(), s.machine.context(), table.length()));
        row_count += item.all_logits ? item.tokens.size() : item.last_logits ? 1 : 0;
    }
    const std::size_t vocab = s.machine.vocab_size();
    s.rows.clear();
    std::span<const float> result;
    std::size_t item = 0, done = 0;  // within the item
    while (item < items.size()) {
        s.tokens.clear();
        s.segments.clear();
        s.outputs.clear();
        while (item < items.size() && s.tokens.size() < s.machine.batch()) {
            const Append& a = items[item];
            kv::PageTable& table = s.tables[a.sequence];
            const std::size_t count = std::min(a.tokens.size() - done, s.machine.batch() - s.tokens.size());
            const auto first = static_cast<std::uint32_t>(s.tokens.size());
            const std::uint32_t position = table.length();
            std::vector<TokenId>& held = s.tokens_of[a.sequence];
            held.reserve(position + count);
            table.grow(position + static_cast<std::uint32_t>(count), s.machine.kv());
            held.insert(held.end(), a.tokens.begin() + static_cast<std::ptrdiff_t>(done),
                        a.tokens.begin() + static_cast<std::ptrdiff_t>(done + count));
            s.segments.push_back({first, static_cast<std::uint32_t>(count), position, {}});
            s.segments.back().pages = table.pages();
            s.tokens.insert(s.tokens.end(), a.tokens.begin() + static_cast<std::ptrdiff_t>(done),
                            a.tokens.begin() + static_cast<std::ptrdiff_t>(done + count));
            done += count;
            const bool last = done == a.tokens.size();
            if (a.all_logits)
                for (std::uint32_t i = 0; i < count; ++i) s.outputs.push_back(first + i);
            else if (last && a.last_logits)
                s.outputs.push_back(first + static_cast<std::uint32_t>(count) - 1);
            if (last) {
                ++item;
                done = 0;
            }
        }
        result = s.machine.run({s.tokens, s.segments, s.outputs});
        if (result.size() == row_count * vocab && item == items.size()) return result;
        s.rows.insert(s.rows.end(), result.begin(), result.end());
    }
    return s.rows;
}

std::uint32_t Session::position(std::uint32_t sequence) const { return impl_->table(sequence).length(); }

void Session::truncate(std::uint32_t sequence, std::uint32_t position) {
    kv::PageTable& table = impl_->table(sequence);
    if (position > table.length())
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("cannot truncate to {}: sequence {} holds {} tokens", position, sequence, table.length()));
    table.truncate(position);
    impl_->tokens_of[sequence].resize(position);
}

void Session::save(std::uint32_t sequence, const std::filesystem::path& path) const {
    const kv::PageTable& table = impl_->table(sequence);
    const std::vector<TokenId>& tokens = impl_->tokens_of[sequence];
    std::string text;
    if (model().tokenizer().kind() != TokenizerKind::none) text = model().tokenizer().decode(tokens);
    kv::write_sequence(path, impl_->kind(), tokens, text, table, impl_->machine.kv());
}

std::vector<TokenId> Session::restore(std::uint32_t sequence, const std::filesystem::path& path) {
    kv::PageTable& table = impl_->table(sequence);
    const kv::SequenceFile file(path, impl_->kind());
    impl_->machine.check_tokens(file.tokens());
    if (file.tokens().size() > impl_->machine.context())
        throw Error(ErrorCode::context_full, fmt::format("'{}' holds {} tokens and the context {}", path.string(),
                                                         file.tokens().size(), impl_->machine.context()));
    for (std::uint32_t b = 0; b < file.blocks(); ++b)
        for (std::uint32_t g = 0; g < table.groups(); ++g)
            if (file.page(b, g).empty())
                throw Error(ErrorCode::bad_file, fmt::format("'{}' was saved by an engine, which has freed pages behind a "
                                                             "window; a session keeps them",
                                                             path.string()));
    std::vector<TokenId> held = file.tokens(), result = file.tokens();
    table.truncate(0);
    table.grow(static_cast<std::uint32_t>(held.size()), impl_->machine.kv());
    for (std::uint32_t b = 0; b < file.blocks(); ++b)
        for (std::uint32_t g = 0; g < table.groups(); ++g) impl_->machine.kv().write_page(table.block(b)[g], file.page(b, g));
    impl_->tokens_of[sequence] = std::move(held);
    return result;
}

std::uint64_t Session::kv_bytes() const noexcept { return impl_->machine.kv_bytes(); }
std::uint64_t Session::scratch_bytes() const noexcept { return impl_->machine.scratch_bytes(); }
const Model& Session::model() const noexcept { return impl_->machine.model(); }

}  // namespace tern
