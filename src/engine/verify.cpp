#include <fmt/format.h>
#include <tern/chat.h>
#include <tern/embed.h>
#include <tern/engine.h>
#include <tern/error.h>
#include <tern/verify.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <mutex>

#include "base/hash.h"
#include "base/thread_pool.h"
#include "models/scan.h"

namespace tern {
namespace {

// ---- weights ------------------------------------------------------------------------------------------------------

// A part of a tensor that one worker scans.
struct Piece {
    std::size_t tensor = 0;
    std::uint64_t first_block = 0;
    std::span<const std::byte> blocks;
};

std::vector<Piece> cut(std::span<const gguf::Tensor> tensors) {
    constexpr std::uint64_t kPieceBytes = 4 * MiB;
    std::vector<Piece> pieces;
    for (std::size_t t = 0; t < tensors.size(); ++t) {
        const std::uint64_t block = info(tensors[t].dtype).block_bytes;
        const std::uint64_t each = std::max<std::uint64_t>(1, kPieceBytes / block) * block;
        for (std::uint64_t at = 0; at < tensors[t].bytes; at += each) {
            const std::uint64_t bytes = std::min(each, tensors[t].bytes - at);
            pieces.push_back({t, at / block, {tensors[t].data + at, bytes}});
        }
    }
    return pieces;
}

std::string describe(const gguf::Tensor& tensor, const models::Scan& scan) {
    const DTypeInfo& format = info(tensor.dtype);
    const std::uint64_t per_row = std::max<std::uint64_t>(1, tensor.shape[0] / format.block);
    return fmt::format("tensor '{}' ({}): {} of {} {} NaN or infinite, the first in row {}, {} {}", tensor.name,
                       to_string(tensor.dtype), scan.bad, tensor.bytes / format.block_bytes,
                       format.block == 1 ? "numbers are" : "blocks have a scale that is", scan.first / per_row,
                       format.block == 1 ? "column" : "block", scan.first % per_row);
}

void scan_weights(const Runtime& runtime, const gguf::File& file, const VerifyOptions& options, Verification& result) {
    const auto start = std::chrono::steady_clock::now();
    const auto tensors = file.tensors();
    const std::vector<Piece> pieces = cut(tensors);
    for (const gguf::Tensor& tensor : tensors) result.bytes += tensor.bytes;
    result.tensors = tensors.size();
    std::vector<models::Scan> scans(tensors.size());
    std::mutex mutex;
    std::atomic<std::size_t> next{0}, done{0};
    std::exception_ptr failure;  // of worker 0
    std::atomic<bool> stop{false};
    base::ThreadPool pool(runtime.threads());
    pool.run([&](unsigned worker) {
        for (std::size_t i; !stop && (i = next.fetch_add(1)) < pieces.size();) {
            const Piece& piece = pieces[i];
            const models::Scan scan = models::scan_blocks(tensors[piece.tensor].dtype, piece.blocks);
            done += piece.blocks.size();
            if (scan.bad != 0) {
                const std::lock_guard lock(mutex);
                models::Scan& all = scans[piece.tensor];
                const std::uint64_t first = piece.first_block + scan.first;
                all.first = all.bad == 0 ? first : std::min(all.first, first);
                all.bad += scan.bad;
            }
            if (worker != 0 || !options.progress) continue;
            try {
                if (!options.progress(static_cast<double>(done) /
                                      static_cast<double>(std::max<std::uint64_t>(result.bytes, 1))))
                    throw Error(ErrorCode::cancelled, fmt::format("checking '{}' was cancelled", file.name()));
            } catch (...) {
                failure = std::current_exception();
                stop = true;
            }
        }
    });
    if (failure) std::rethrow_exception(failure);
    for (std::size_t t = 0; t < tensors.size(); ++t)
        if (scans[t].bad != 0) result.findings.push_back({"weights", describe(tensors[t], scans[t])});
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// ---- tokeniser ----------------------------------------------------------------------------------------------------

constexpr std::string_view kTexts[] = {
    "Hello world",
    " leading, trailing ",
    "two  three   four    spaces",
    "line\nline\n\nparagraph\r\nwith carriage return\tand tab",
    "don't DON'T it's we'll they're I'd",
    "0 12 345 6789 1234567890 3.14159 1,000,000 -273.15 1e-9",
    "int main(int argc, char** argv) { return argv[0] == nullptr ? 1 : 0; }  // comment",
    "https://example.org/path?query=value&other=1#part",
    "\u00c9t\u00e9 na\u00efve fa\u00e7ade \u00fcber stra\u00dfe \u0141\u00f3d\u017a",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 "
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u3053\u3093\u306b\u3061\u306f \uc548\ub155\ud558\uc138\uc694",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\U0001F600 \U0001F469\u200D\U0001F680 \u2764\uFE0F \U0001F1EA\U0001F1FA",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "e\u0301 is \u00e9 in two parts; \u00a0 is no-break, \u3000 ideographic",
    "<|im_start|>not a control token</s>",
};

// Vocabularies that normalise give another text back, which must then give the same ids.
void round_trip(const gguf::File& file, const Tokenizer& tokenizer, Verification& result) {
    const bool keeps_text = tokenizer.kind() == TokenizerKind::byte_bpe ||
                            (tokenizer.kind() == TokenizerKind::sentencepiece &&
                             !file.bool_or("tokenizer.ggml.remove_extra_whitespaces", false));
    for (const std::string_view text : kTexts) {
        ++result.texts;
        try {
            const std::vector<TokenId> ids = tokenizer.encode(text, {.add_special = false});
            // What became an unknown token is lost, as the vocabulary has it.
            const auto unk = tokenizer.unk();
            if (unk && std::find(ids.begin(), ids.end(), *unk) != ids.end()) continue;
            const std::string back = tokenizer.decode(ids);
            if (keeps_text ? back == text : tokenizer.encode(back, {.add_special = false}) == ids) continue;
            result.findings.push_back(
                {"tokenizer", fmt::format("'{}' comes back as '{}' from its {} tokens", text, back, ids.size())});
        } catch (const Error& e) {
            result.findings.push_back({"tokenizer", fmt::format("'{}': {}", text, e.what())});
        }
    }
}

// ---- fingerprint --------------------------------------------------------------------------------------------------

constexpr std::size_t kPrompt = 32;

// Spread over the vocabulary; the same for every vocabulary of that size.
std::vector<TokenId> prompt(const ModelInfo& info) {
    std::vector<TokenId> ids;
    std::uint64_t x = 0x243F6A8885A308D3u;  // of pi
    for (std::size_t i = 0; i < std::min<std::size_t>(kPrompt, info.context_length); ++i) {
        x = x * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX
        ids.push_back(static_cast<TokenId>((x >> 33) % info.vocab_size));
    }
    return ids;
}

std::vector<float> outputs(const Model& model) {
    const std::vector<TokenId> ids = prompt(model.info());
    if (!model.info().encoder) {
        Session session(model, {.context = static_cast<std::uint32_t>(ids.size()),
                                .kv_type = KvType::f32,
                                .batch = static_cast<std::uint32_t>(ids.size())});
        const Append all{.tokens = ids, .all_logits = true};
        const std::span<const float> logits = session.eval(std::span(&all, 1));
        return {logits.begin(), logits.end()};
    }
    Embedder embedder(model, {.normalize = false});
    std::vector<std::vector<TokenId>> beginnings;
    for (std::size_t n = 1; n <= ids.size(); ++n)
        beginnings.emplace_back(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(n));
    std::vector<float> all;
    for (const std::vector<float>& vector : embedder.embed(beginnings))
        all.insert(all.end(), vector.begin(), vector.end());
    return all;
}

void compute_fingerprint(const Model& model, Verification& result) {
    const std::vector<float> all = outputs(model);
    const auto bad = std::count_if(all.begin(), all.end(), [](float x) { return !std::isfinite(x); });
    if (bad != 0)
        result.findings.push_back(
            {"logits",
             fmt::format("{} of {} {} for {} fixed tokens are NaN or infinite", bad, all.size(),
                         model.info().encoder ? "numbers of the embeddings" : "logits", prompt(model.info()).size())});
    result.fingerprint = fmt::format("{:016x}", base::hash(std::as_bytes(std::span(all))));
}

}  // namespace

TemplateCheck check_template(std::string_view source, const Tokenizer& tokenizer) {
    TemplateCheck check;
    std::optional<ChatTemplate> parsed;
    try {
        parsed.emplace(source, tokenizer);
    } catch (const Error& e) {
        check.faults.push_back(fmt::format("it is malformed: {}", e.what()));
        return check;
    }
    constexpr const char* kNow = "2026-01-15T12:00:00";
    const std::vector<ChatMessage> talk = {
        {"user", "What is one and one?"}, {"assistant", "Two."}, {"user", "And two?"}};
    std::vector<ChatMessage> with_system = talk;
    with_system.insert(with_system.begin(), {"system", "Be brief."});
    try {
        parsed->render(with_system, {.now = kNow});
    } catch (const Error& refused) {
        // Some templates know no system message and say so; then all else must work.
        try {
            parsed->render(talk, {.now = kNow});
        } catch (const Error& e) {
            check.faults.push_back(
                fmt::format("it does not render a conversation of user and assistant: {}", e.what()));
            return check;
        }
    }
    const std::optional<TokenId> bos = tokenizer.bos();
    const ChatPrompt asked = parsed->render({talk.front()}, {.now = kNow});
    if (bos) {
        const std::vector<TokenId> ids = encode_chat(tokenizer, asked);
        const auto count = std::count(ids.begin(), ids.end(), *bos);
        const std::string_view name = tokenizer.token_text(*bos);
        if (count > 1)
            check.faults.push_back(
                fmt::format("a prompt of one message begins or goes on with {} bos tokens '{}'", count, name));
        else if (tokenizer.adds_bos() && asked.text.starts_with(name))
            check.warnings.push_back(
                fmt::format("it writes the bos '{}', and tokenizer.ggml.add_bos_token adds one, too; Tern leaves "
                            "the second out, other programs may not",
                            name));
    }
    const std::vector<TokenId> answered =
        encode_chat(tokenizer, parsed->render(talk, {.add_generation_prompt = false, .now = kNow}));
    if (std::none_of(answered.begin(), answered.end(),
                     [&](TokenId id) { return tokenizer.is_end_of_generation(id); })) {
        const std::optional<TokenId> eos = tokenizer.eos();
        check.warnings.push_back(
            fmt::format("it writes {} behind an answer, so the model was not taught to end one: replies may go "
                        "on to their limit",
                        eos ? fmt::format("neither the eos '{}' nor another token that ends a generation",
                                          tokenizer.token_text(*eos))
                            : std::string("no token that ends a generation")));
    }
    return check;
}

Verification verify(const Runtime& runtime, const std::filesystem::path& path, const VerifyOptions& options) {
    Verification result;
    const auto attempt = [&](const char* part, auto&& step) {
        try {
            step();
            return true;
        } catch (const Error& e) {
            switch (e.code()) {
                case ErrorCode::not_found:
                case ErrorCode::io:
                case ErrorCode::out_of_memory:
                case ErrorCode::cancelled:
                case ErrorCode::internal:
                    throw;
                default:
                    result.findings.push_back({part, e.what()});
            }
            return false;
        }
    };
    std::optional<gguf::File> file;
    if (!attempt("file", [&] { file = gguf::File::open(path); })) return result;
    scan_weights(runtime, *file, options, result);

    std::optional<Tokenizer> tokenizer;
    if (file->find("tokenizer.ggml.model"))
        attempt("tokenizer", [&] { tokenizer = Tokenizer::from_gguf(*file, options.tokenizer); });
    if (tokenizer && tokenizer->kind() != TokenizerKind::none) {
        result.has_tokenizer = true;
        round_trip(*file, *tokenizer, result);
        if (const gguf::Value* source = file->find("tokenizer.chat_template")) {
            result.has_template = true;
            attempt("template", [&] {
                TemplateCheck check = check_template(source->as_string(), *tokenizer);
                for (std::string& fault : check.faults) result.findings.push_back({"template", std::move(fault)});
                for (std::string& warning : check.warnings) result.notes.push_back({"template", std::move(warning)});
            });
        }
    }
    std::optional<Model> model;
    const bool known = !result.findings.empty() && !tokenizer;  // its problem is listed already
    attempt("shapes", [&] {
        try {
            model = Model::load(runtime, gguf::File::open(path), {.tokenizer = options.tokenizer});
        } catch (const Error& e) {
            const bool again = known && std::any_of(result.findings.begin(), result.findings.end(),
                                                    [&](const Finding& f) { return f.problem == e.what(); });
            if (!again) throw;
        }
    });
    if (!model || !options.fingerprint) return result;
    // Others than the CPU's own kernels promise no bits, so two of their fingerprints say nothing.
    if (const std::string backend = runtime.backend(); backend == "cpu" || backend == "ref")
        attempt("logits", [&] { compute_fingerprint(*model, result); });
    else
        result.notes.push_back({"fingerprint", fmt::format("backend '{}' gives none that can be compared; backend 'cpu' does",
                                                           backend)});
    return result;
}

}  // namespace tern
