// Writes the seed inputs of the fuzzers: make_fuzz_seeds FOLDER makes FOLDER/gguf and FOLDER/model.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "../gguf/raw_file.h"
#include "../models/tiny_model.h"

using namespace tern;
using namespace tern::test;

namespace {

void save(const std::filesystem::path& path, const std::string& bytes) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
}
void save(const std::filesystem::path& path, const std::vector<std::byte>& bytes) {
    save(path, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void gguf_seeds(const std::filesystem::path& folder) {
    save(folder / "small", small_file().bytes());
    RawFile version2 = small_file();
    version2.version = 2;
    save(folder / "version2", version2.bytes());
    RawFile keys_only = small_file();
    keys_only.tensors.clear();
    save(folder / "keys", keys_only.header());
    save(folder / "directory", small_file().header());

    RawFile aligned = small_file();
    aligned.alignment = 64;
    aligned.entries.push_back(entry("general.alignment", 4, raw(64u)));
    for (RawTensor& t : aligned.tensors) t.offset = (t.offset + 63) / 64 * 64;
    aligned.data = pattern(320);
    save(folder / "aligned", aligned.bytes());

    RawFile types;
    constexpr std::uint32_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    for (std::uint32_t type = 0; type < std::size(kSizes); ++type) {
        if (type == 9) continue;
        const std::string one = type == 8 ? raw_string("text") : std::string(kSizes[type], '\1');
        types.entries.push_back(entry("s" + std::to_string(type), type, one));
        types.entries.push_back(entry("a" + std::to_string(type), 9, array_payload(type, 2, one + one)));
    }
    save(folder / "types", types.bytes());

    RawFile formats;
    for (const DTypeInfo& format : all_dtypes()) {
        formats.tensors.push_back({.name = format.name,
                                   .shape = {format.block},
                                   .type = static_cast<std::uint32_t>(format.dtype),
                                   .offset = formats.data.size()});
        formats.data.append((format.block_bytes + 31) / 32 * 32, '\0');
    }
    save(folder / "formats", formats.bytes());

    RawFile part;
    part.entries = {entry("split.no", 2, raw<std::uint16_t>(0)), entry("split.count", 2, raw<std::uint16_t>(1))};
    save(folder / "split", part.bytes());
}

void model_seeds(const std::filesystem::path& folder) {
    using M = TinyModel;
    save(folder / "q4_0", tiny_model(0, DType::Q4_0, 1).bytes());
    save(folder / "mxfp4", tiny_model(0, DType::MXFP4, 1).bytes());
    save(folder / "iq4_nl", tiny_model(0, DType::IQ4_NL, 1).bytes());
    save(folder / "q5_1", tiny_model(0, DType::Q5_1, 1).bytes());
    save(folder / "experts", tiny_model(2, DType::Q4_1, 1).bytes());

    TinyModel floats = tiny_model(0, DType::F16, 1);
    floats.drop("output.weight");
    floats.tensors.push_back({"blk.0.attn_q.bias", {32}});
    floats.tensors.push_back({"rope_freqs.weight", {4}, DType::F32, 8.0f});
    floats.set("llama.rope.scaling.type", M::text("linear"));
    floats.set("llama.rope.scaling.factor", M::f32(4));
    save(folder / "f16", floats.bytes());

    TinyModel bpe = tiny_model(0, DType::Q4_0, 1);
    bpe.set("tokenizer.ggml.model", M::text("gpt2"));
    bpe.set("tokenizer.ggml.pre", M::text("llama-bpe"));
    bpe.set("tokenizer.ggml.tokens", M::texts({"a", "b", "ab", "\u0120", "\u0120a", "C", "f", "1", "2", "<s>"}));
    bpe.set("tokenizer.ggml.token_type", M::i32s({1, 1, 1, 1, 1, 1, 1, 1, 1, 3}));
    bpe.set("tokenizer.ggml.merges", M::texts({"a b", "\u0120 a"}));
    bpe.drop("tokenizer.ggml.scores");
    save(folder / "byte_bpe", bpe.bytes());

    TinyModel wordpiece = tiny_model(0, DType::Q4_0, 1);
    wordpiece.set("tokenizer.ggml.model", M::text("bert"));
    wordpiece.set("tokenizer.ggml.tokens",
                  M::texts({"[UNK]", "[CLS]", "[SEP]", "\u2581ab", "a", "b", "\u2581caf", "e", "\u2581" "12", "\u2581<"}));
    save(folder / "wordpiece", wordpiece.bytes());

    TinyModel unigram = tiny_model(0, DType::Q4_0, 1);
    unigram.set("tokenizer.ggml.model", M::text("t5"));
    // A trie of one word, "a", which becomes "b".
    std::vector<std::int32_t> charsmap(4 + 256 * 4 + 2);
    const auto put = [&](std::size_t unit, std::uint32_t value) {
        for (std::size_t i = 0; i < 4; ++i) charsmap[unit * 4 + i] = static_cast<std::int32_t>(value >> 8 * i & 0xFF);
    };
    put(0, 256 * 4);
    put(1 + 0, 1u << 10);
    put(1 + (1 ^ 'a'), 'a' | 1u << 8 | 2u << 10);
    put(1 + (1 ^ 'a' ^ 2), 1u << 31);
    charsmap[4 + 256 * 4] = 'b';
    unigram.set("tokenizer.ggml.precompiled_charsmap", M::i32s(charsmap));
    save(folder / "unigram", unigram.bytes());

    TinyModel none = tiny_model(0, DType::Q4_0, 1);
    std::erase_if(none.keys, [](const M::Key& k) { return k.name.starts_with("tokenizer."); });
    none.set("tokenizer.ggml.model", M::text("no_vocab"));
    save(folder / "no_vocab", none.bytes());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fputs("usage: make_fuzz_seeds FOLDER\n", stderr);
        return 2;
    }
    gguf_seeds(std::filesystem::path(argv[1]) / "gguf");
    model_seeds(std::filesystem::path(argv[1]) / "model");
    return 0;
}
