// Input and files that want to do harm: long runs, ill-formed text, contradictory vocabularies.
#include <chrono>
#include <thread>

#include "small_vocabularies.h"
#include "tests/support/reference_data.h"
#include "tests/support/sanitizer.h"
#include "tokenizer/pre_tokenizers.h"

namespace tern::test {
namespace {

std::string repeat(const std::string& text, std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) out += text;
    return out;
}

// The bound is far above what linear work needs, sanitizers included, and far below what quadratic work takes.
template <class Work>
void expect_quick(const char* what, Work&& work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(taken.count(), 15.0) << what;
}

void check_long_runs(const Tokenizer& t, std::size_t length = 100000) {
    for (const char* unit : {"a", " ", "\n", "\U0001F999", "\u2581", "ab", " \n", "1", "=", "\xFF", "\xF0\x9F", "\u0301",
                             "'s", "<", "<s", "[user]", "\t ", "a\u0301"}) {
        // What follows must not decide how long the run takes.
        for (const char* end : {"", "x", "#"}) {
            expect_quick(unit, [&] {
                const std::string text = repeat(unit, kSanitized ? length / 5 : length) + end;
                const Ids ids = t.encode(text, {.add_special = false, .parse_special = true});
                const bool lossy = t.kind() == TokenizerKind::wordpiece || t.kind() == TokenizerKind::unigram ||
                                   (t.kind() == TokenizerKind::sentencepiece && std::string(unit) == "\u2581");
                if (!lossy) {
                    EXPECT_TRUE(t.decode(ids) == text) << unit;
                }
            });
        }
    }
    expect_quick("random bytes", [&] {
        std::mt19937 random(11);
        const std::string text = random_bytes(random, kSanitized ? 1 << 17 : 1 << 20);
        const Ids ids = t.encode(text, {.add_special = false});
        if (t.kind() != TokenizerKind::wordpiece && t.kind() != TokenizerKind::unigram) {
            EXPECT_TRUE(t.decode(ids) == text);
        }
    });
}

TEST(Hostile, LongRunsSentencePiece) { check_long_runs(sentencepiece_file().load()); }
TEST(Hostile, LongRunsGpt2) { check_long_runs(byte_bpe_file("gpt-2").load()); }
TEST(Hostile, LongRunsLlama) { check_long_runs(byte_bpe_file("llama-bpe").load()); }
TEST(Hostile, LongRunsQwen2) { check_long_runs(byte_bpe_file("qwen2").load()); }
TEST(Hostile, LongRunsWordPiece) { check_long_runs(wordpiece_file().load()); }

TEST(Hostile, LongRunsUnigram) { check_long_runs(unigram_file().load()); }
TEST(Hostile, LongRunsOfEveryPattern) {
    for (const tokenizer::PreTokenizer& pre : tokenizer::pre_tokenizers()) {
        SCOPED_TRACE(pre.name);
        check_long_runs(byte_bpe_file(std::string(pre.name)).load(), 30000);
    }
}

TEST(Hostile, LongRunsOfRealVocabularies) {
    for (const std::string name : {"bert-bge", "gpt-2", "llama-bpe", "llama-spm", "qwen2"}) {
        TERN_REFERENCE(path, "vocab/" + name + ".gguf");
        check_long_runs(Tokenizer::from_gguf(gguf::File::open(path, {.need_data = false})));
    }
}

TEST(Hostile, EveryClassOfIllFormedUtf8) {
    const std::vector<std::string> texts = {
        "\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80",
        "\xED\xBF\xBF", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF0\x9F\x98", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xF8\x88\x80\x80\x80", "\xFE", "\xFF", std::string("\0", 1), "\xEF\xBF\xBE", "\xC3(", "\xE2(\xA1",
        "a\xE2\x82" "b", "\xF0\x9F\x98\xF0\x9F\x98\x80", "\xEF\xBB\xBFx"};
    for (const Tokenizer& t : {sentencepiece_file().load(), byte_bpe_file("gpt-2").load(),
                               byte_bpe_file("llama-bpe").load(), byte_bpe_file("qwen2").load()}) {
        for (const std::string& text : texts) {
            for (const std::string& context : {text, "a" + text, text + "a", "b " + text + " c" + text}) {
                EXPECT_EQ(t.decode(t.encode(context, {.add_special = false})), context);
            }
        }
        std::mt19937 random(5);
        for (std::size_t i = 0; i < 2000; ++i) {
            const std::string text = random_bytes(random, i % 50);
            EXPECT_EQ(t.decode(t.encode(text, {.add_special = false})), text);
        }
    }
    const Tokenizer bert = wordpiece_file().load();
    for (const std::string& text : texts) bert.encode(text);
}

TEST(Hostile, IdsOutOfRange) {
    const Tokenizer t = sentencepiece_file().load();
    const auto size = static_cast<TokenId>(t.vocab_size());
    for (const TokenId id : {-1, size, INT32_MAX, INT32_MIN}) {
        const std::string text = std::to_string(id);
        expect_error(ErrorCode::invalid_argument, {text}, [&] { t.decode(Ids{id}); });
        expect_error(ErrorCode::invalid_argument, {text}, [&] { t.token_bytes(id); });
        expect_error(ErrorCode::invalid_argument, {text}, [&] { t.token_text(id); });
        expect_error(ErrorCode::invalid_argument, {text}, [&] { t.token_type(id); });
    }
}

TEST(Hostile, FilesAreRefusedByKey) {
    const auto refused = [](const std::string& key, const VocabularyFile& file) {
        SCOPED_TRACE(key);
        expect_error(ErrorCode::bad_file, {"made.gguf", key}, [&] { file.load(); });
    };
    VocabularyFile f = sentencepiece_file();
    f.model = "";
    refused("tokenizer.ggml.model", f);
    f = sentencepiece_file();
    f.tokens.clear();
    refused("tokenizer.ggml.tokens", f);
    f = sentencepiece_file();
    f.tokens[270] = f.tokens[269];
    refused("tokenizer.ggml.tokens", f);
    f = sentencepiece_file();
    f.tokens[270] = std::string(9000, 'a');
    refused("tokenizer.ggml.tokens", f);
    f = sentencepiece_file();
    f.scores.clear();
    refused("tokenizer.ggml.scores", f);
    f = sentencepiece_file();
    f.scores.pop_back();
    refused("tokenizer.ggml.scores", f);
    f = sentencepiece_file();
    f.scores[5] = std::numeric_limits<float>::quiet_NaN();
    refused("tokenizer.ggml.scores", f);
    f = sentencepiece_file();
    f.types.push_back(1);
    refused("tokenizer.ggml.token_type", f);
    for (const std::int32_t type : {-1, 7, INT32_MAX}) {
        f = sentencepiece_file();
        f.types[9] = type;
        refused("tokenizer.ggml.token_type", f);
    }
    f = sentencepiece_file();
    f.types[270] = static_cast<std::int32_t>(TokenType::byte);
    refused("tokenizer.ggml.token_type", f);
    for (const char* name : {"bos", "eos", "eot", "eom", "unknown", "padding", "cls", "mask", "seperator"}) {
        const std::string key = std::string("tokenizer.ggml.") + name + "_token_id";
        f = sentencepiece_file();
        f.more = [&](gguf::Writer& w) { w.add_u32(key, static_cast<std::uint32_t>(f.tokens.size())); };
        refused(key, f);
        f.more = [&](gguf::Writer& w) { w.add_i32(key, -2); };
        refused(key, f);
        f.more = [&](gguf::Writer& w) { w.add_string(key, "1"); };
        refused(key, f);
    }
    f = byte_bpe_file();
    f.more = [](gguf::Writer& w) { w.add_bool("tokenizer.ggml.add_bos_token", true); };
    refused("tokenizer.ggml.add_bos_token", f);
    f = byte_bpe_file();
    f.merges.clear();
    refused("tokenizer.ggml.merges", f);
    for (const char* merge : {"", " ", "a", "ab ", " ab", "a zz", "zz a", "e a", "a b c"}) {
        f = byte_bpe_file();
        f.merges.push_back(merge);
        refused("tokenizer.ggml.merges", f);
    }
    f = wordpiece_file();
    f.tokens[1] = "other";
    refused("tokenizer.ggml.unknown_token_id", f);
    f = sentencepiece_file();
    f.model = "klingon";
    expect_error(ErrorCode::unsupported, {"tokenizer.ggml.model", "klingon", "llama", "t5", "gpt2", "bert"}, [&] { f.load(); });
}

// A trie of `units`, then `replacements`, as bytes.
std::vector<std::int32_t> charsmap(const std::vector<std::uint32_t>& units, const std::string& replacements) {
    std::vector<std::int32_t> bytes;
    const auto put = [&](std::uint32_t value) {
        for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<std::int32_t>(value >> shift & 0xFF));
    };
    put(static_cast<std::uint32_t>(units.size() * 4));
    for (const std::uint32_t unit : units) put(unit);
    for (const char c : replacements) bytes.push_back(static_cast<unsigned char>(c));
    return bytes;
}

// "a" becomes what stands at `place` of the replacements.
std::vector<std::uint32_t> trie_of_a(std::uint32_t place) {
    std::vector<std::uint32_t> units(256);
    units[0] = 1u << 10;                            // its children are at 1 ^ byte
    units[1 ^ 'a'] = 'a' | 1u << 8 | 2u << 10;      // a leaf, whose replacement is at its index ^ 2
    units[1 ^ 'a' ^ 2] = 1u << 31 | place;
    return units;
}

TEST(Hostile, CharsMap) {
    const std::string key = "tokenizer.ggml.precompiled_charsmap";
    const auto refused = [&](const char* problem, const std::vector<std::int32_t>& bytes) {
        SCOPED_TRACE(problem);
        expect_error(ErrorCode::bad_file, {"made.gguf", key, problem}, [&] { unigram_file(bytes).load(); });
    };
    const Tokenizer good = unigram_file(charsmap(trie_of_a(2), std::string("x\0bb\0", 5))).load();
    EXPECT_EQ(good.decode(good.encode("a-a", {.add_special = false})), good.decode(good.encode("bb-bb", {.add_special = false})));

    refused("too few", {1, 2, 3});
    refused("is not a byte", {1, 2, 3, 256});
    refused("is not a byte", {1, 2, 3, -129});
    refused("a trie of", charsmap({}, std::string("\0", 1)));
    refused("a trie of", charsmap(trie_of_a(0), ""));
    std::vector<std::int32_t> bytes = charsmap(trie_of_a(0), std::string("x\0", 2));
    bytes[0] = 2;
    refused("a trie of", bytes);
    bytes[3] = 0x7F;
    refused("a trie of", bytes);
    refused("not ended", charsmap(trie_of_a(0), "x"));
    refused("names a replacement outside", charsmap(trie_of_a(2), std::string("x\0", 2)));
    std::vector<std::uint32_t> units = trie_of_a(0);
    units[7] = 1u << 9 | 1u << 12;  // an offset in steps of 256
    refused("leads outside", charsmap(units, std::string("x\0", 2)));
    units = trie_of_a(0);
    units.resize(100);
    refused("leads outside", charsmap(units, std::string("x\0", 2)));
    // From the child for a the way leads to that child again: a walk ends with the text.
    units = trie_of_a(0);
    units[1 ^ 'a'] = 'a' | static_cast<std::uint32_t>('a') << 10;
    unigram_file(charsmap(units, std::string("x\0", 2))).load().encode(repeat("a", 3000));

    std::mt19937 random(5);
    for (int round = 0; round < 3000; ++round) {
        bytes = charsmap(trie_of_a(2), std::string("x\0bb\0", 5));
        for (int i = 0; i < 4; ++i) bytes[random() % bytes.size()] = static_cast<std::int32_t>(random() % 256);
        try {
            unigram_file(bytes).load().encode(random_bytes(random, 100) + "aaaa");
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::bad_file) << error.what();
        }
    }
}

TEST(Hostile, UnigramVocabularies) {
    const auto refused = [](const std::string& key, const VocabularyFile& file) {
        expect_error(ErrorCode::bad_file, {"made.gguf", key}, [&] { file.load(); });
    };
    for (const float score : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        VocabularyFile f = unigram_file();
        f.scores[5] = score;
        refused("tokenizer.ggml.scores", f);
    }
    VocabularyFile f = unigram_file();
    f.scores.clear();
    refused("tokenizer.ggml.scores", f);
    f = unigram_file();
    for (std::int32_t& type : f.types) type = static_cast<std::int32_t>(TokenType::control);
    refused("tokenizer.ggml.token_type", f);
    f = unigram_file();
    f.types[5] = static_cast<std::int32_t>(TokenType::byte);
    refused("tokenizer.ggml.token_type", f);
    // Scores as far apart as floats go, and texts in which they add up.
    f = unigram_file();
    f.scores[4] = std::numeric_limits<float>::lowest();
    f.scores[5] = std::numeric_limits<float>::max();
    EXPECT_GT(f.load().encode(repeat("ab?", 5000)).size(), 5000u);
    f = unigram_file();
    f.tokens[2] = "no unknown token";
    f.types[2] = 1;
    expect_error(ErrorCode::unsupported, {"unknown token"}, [&] { f.load().encode("?"); });
}

TEST(Hostile, MinusOneMeansNone) {
    VocabularyFile f = byte_bpe_file();
    f.more = [](gguf::Writer& w) {
        w.add_i32("tokenizer.ggml.bos_token_id", -1);
        w.add_u32("tokenizer.ggml.padding_token_id", UINT32_MAX);
    };
    EXPECT_EQ(f.load().bos(), std::nullopt);
    EXPECT_EQ(f.load().pad(), std::nullopt);
}

TEST(Threads, OneTokenizerServesMany) {
    const Tokenizer t = byte_bpe_file("llama-bpe").load();
    std::mt19937 random(9);
    const std::string text = random_text(random, 20000);
    const Ids expected = t.encode(text);
    std::vector<Ids> results(8);
    std::vector<std::thread> threads;
    for (Ids& result : results) threads.emplace_back([&t, &text, &result] { result = t.encode(text); });
    for (std::thread& thread : threads) thread.join();
    for (const Ids& result : results) EXPECT_EQ(result, expected);
}

}  // namespace
}  // namespace tern::test
