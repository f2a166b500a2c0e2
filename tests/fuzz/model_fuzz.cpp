// A model file of any bytes: refused with an Error, or a model that tokenises, and computes logits (encoders: an embedding)
// for every token it is given, on the reference and on the processor's best kernels.
#include <tern/tern.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

using namespace tern;

namespace {

constexpr std::size_t kMaxTokens = 4;
constexpr const char* kText = "ab <s> Caf\u00e9 12\n\xff";

void expect(bool ok) {
    if (!ok) std::abort();
}

const Runtime& runtime(std::size_t which) {
    static const Runtime runtimes[] = {Runtime({.threads = 1, .isa = "scalar"}), Runtime({.threads = 1})};
    return runtimes[which % 2];
}

std::vector<TokenId> tokenise(const Model& model) {
    try {
        const std::vector<TokenId> tokens = model.tokenizer().encode(kText, {.parse_special = true});
        for (const TokenId t : tokens) expect(t >= 0 && static_cast<std::size_t>(t) < model.tokenizer().vocab_size());
        (void)model.tokenizer().decode(tokens);
        return tokens;
    } catch (const Error&) {  // no vocabulary, or one that cannot spell the text
        return {};
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    // Aligned, as File::parse asks for, and of the exact size.
    const std::vector<std::byte> bytes(reinterpret_cast<const std::byte*>(data),
                                       reinterpret_cast<const std::byte*>(data) + size);
    try {
        const Model model = Model::load(runtime(size), gguf::File::parse(bytes, "fuzz"));
        std::vector<TokenId> tokens = tokenise(model);
        // Some models have learned so many positions and know no others.
        const std::size_t context = std::min<std::size_t>(kMaxTokens + 1, model.info().context_length);
        if (context < 2) return 0;
        tokens.resize(std::min(tokens.size(), context - 1));
        if (tokens.empty()) tokens.push_back(0);
        if (model.info().encoder) {
            Embedder embedder(model);
            expect(embedder.embed(std::span(&tokens, 1)).front().size() == embedder.width());
            return 0;
        }
        Session session(model, {.context = static_cast<std::uint32_t>(context), .batch = kMaxTokens});
        expect(session.eval(tokens).size() == model.info().vocab_size);
        const TokenId last = static_cast<TokenId>(model.info().vocab_size - 1);
        expect(session.eval({&last, 1}).size() == model.info().vocab_size);
    } catch (const Error& e) {
        expect(e.code() == ErrorCode::bad_file || e.code() == ErrorCode::unsupported ||
               e.code() == ErrorCode::out_of_memory || e.code() == ErrorCode::context_full);
    }
    return 0;
}
