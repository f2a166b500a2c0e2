// Added tokens, ends, spaces, splitting, decoding: each rule on a vocabulary small enough to see the answer.
#include <set>

#include "small_vocabularies.h"
#include "tokenizer/pre_tokenizers.h"
#include "tokenizer/splitter.h"

namespace tern::test {
namespace {

std::vector<std::string> words(const char* pre, const std::string& text) {
    const tokenizer::PreTokenizer* row = tokenizer::find_pre_tokenizer(pre);
    std::vector<std::size_t> ends;
    tokenizer::Splitter(row->steps).split(text, ends);
    std::vector<std::string> out;
    std::size_t begin = 0;
    for (const std::size_t end : ends) {
        out.push_back(text.substr(begin, end - begin));
        begin = end;
    }
    EXPECT_EQ(begin, text.size());
    return out;
}
using Words = std::vector<std::string>;

TEST(Splitter, Patterns) {
    EXPECT_EQ(words("gpt-2", "I'm  1234, don't"), (Words{"I", "'m", " ", " 1234", ",", " don", "'t"}));
    EXPECT_EQ(words("gpt-2", "IT'S"), (Words{"IT", "'", "S"}));
    EXPECT_EQ(words("llama-bpe", "IT'S 12345\n\n x"), (Words{"IT", "'S", " ", "123", "45", "\n\n", " x"}));
    EXPECT_EQ(words("qwen2", "a 123"), (Words{"a", " ", "1", "2", "3"}));
    EXPECT_EQ(words("qwen2", "x;\n  y(z)"), (Words{"x", ";\n", " ", " y", "(z", ")"}));
    EXPECT_EQ(words("qwen2", ""), Words{});
}

TEST(Splitter, WhiteSpaceIsUnicodesWhiteSpace) {
    // U+00A0 and U+3000 are, U+180E and U+200B are not.
    EXPECT_EQ(words("gpt-2", "a\u3000\u00a0b"), (Words{"a", "\u3000", "\u00a0", "b"}));
    EXPECT_EQ(words("gpt-2", "a \u180e."), (Words{"a", " \u180e."}));
    EXPECT_EQ(words("gpt-2", "a \u200b."), (Words{"a", " \u200b."}));
}

TEST(Splitter, IllFormedBytesAreSymbolsAndKept) {
    EXPECT_EQ(words("gpt-2", "a\xFF\xFE b"), (Words{"a", "\xFF\xFE", " b"}));
    EXPECT_EQ(words("gpt-2", "\xF0\x9F!\xC3"), (Words{"\xF0\x9F!\xC3"}));
    EXPECT_EQ(words("gpt-2", "x\x80" "1\u180e"), (Words{"x", "\x80", "1", "\u180e"}));
    EXPECT_EQ(words("gpt-2", std::string("a\0b", 3)), (Words{"a", std::string(1, '\0'), "b"}));
}

TEST(PreTokenizers, NamesAreDistinctAndFound) {
    const auto names = Tokenizer::pre_tokenizers();
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
    for (const auto& name : names) EXPECT_NE(tokenizer::find_pre_tokenizer(name), nullptr) << name;
    for (const char* name : {"llama-bpe", "llama3", "llama-v3"}) {
        EXPECT_EQ(byte_bpe_file(name).load().pre_tokenizer(), "llama-bpe");
    }
    EXPECT_EQ(tokenizer::find_pre_tokenizer(""), nullptr);
}

TEST(ByteBpe, PreCanBeGivenByTheCaller) {
    VocabularyFile file = byte_bpe_file("martian");
    expect_error(ErrorCode::unsupported, {"tokenizer.ggml.pre", "martian", "llama-bpe", "gpt-2", "qwen2"},
                 [&] { file.load(); });
    EXPECT_EQ(file.load({.pre = "qwen2"}).pre_tokenizer(), "qwen2");
    expect_error(ErrorCode::invalid_argument, {"venusian", "qwen2"}, [&] { file.load({.pre = "venusian"}); });
    file.pre.clear();
    expect_error(ErrorCode::unsupported, {"tokenizer.ggml.pre", "missing"}, [&] { file.load(); });
}

TEST(ByteBpe, WholeWordsBeatMerges) {
    VocabularyFile file = byte_bpe_file("gpt-2");
    const TokenId whole = file.add("bcde");  // no merge makes it
    file.scores.clear();
    const Tokenizer by_merges = file.load();
    EXPECT_GT(by_merges.encode("bcde").size(), 1u);
    file.pre = "llama-bpe";
    EXPECT_EQ(file.load().encode("bcde"), Ids{whole});
}

TEST(ByteBpe, AMissingByteIsUnknownOrAnError) {
    VocabularyFile file = byte_bpe_file();
    file.tokens[0xFF] = "replaced";
    expect_error(ErrorCode::unsupported, {"0xFF"}, [&] { file.load().encode("a\xFF"); });
    file.more = [](gguf::Writer& w) { w.add_u32("tokenizer.ggml.unknown_token_id", 7); };
    EXPECT_EQ(file.load().encode("a\xFF"), (Ids{'a', 7}));
}

TEST(AddedTokens, UserDefinedAlwaysControlOnRequest) {
    const Tokenizer t = byte_bpe_file().load();
    const TokenId user = *t.find("[user]"), end = *t.find("<|im_end|>");
    EXPECT_EQ(t.encode("a[user]b"), (Ids{'a', user, 'b'}));
    const Ids plain = t.encode("<|im_end|>");
    EXPECT_EQ(plain.size(), 10u);
    EXPECT_EQ(t.encode("<|im_end|>[user]", {.parse_special = true}), (Ids{end, user}));
    EXPECT_TRUE(t.is_end_of_generation(end));
    EXPECT_EQ(t.eot(), end);
    EXPECT_EQ(t.decode(Ids{'a', end, user}), "a<|im_end|>[user]");
    EXPECT_EQ(t.decode(Ids{'a', end, user}, {.skip_special = true}), "a[user]");
    EXPECT_EQ(t.token_type(user), TokenType::user_defined);
}

TEST(AddedTokens, TheLongestOfTheLeftmostMatches) {
    VocabularyFile file = byte_bpe_file();
    const TokenId one = file.add("==", TokenType::user_defined), two = file.add("====", TokenType::user_defined);
    file.scores.clear();
    const Tokenizer t = file.load();
    EXPECT_EQ(t.encode("======="), (Ids{two, one, '='}));
    EXPECT_EQ(t.encode("==a===="), (Ids{one, 'a', two}));
}

TEST(SentencePiece, SpacesAndBytes) {
    const Tokenizer t = sentencepiece_file().load();
    const auto id = [&](const char* text) { return *t.find(text); };
    EXPECT_EQ(t.encode("ab", {.add_special = false}), (Ids{id("\u2581ab")}));
    EXPECT_EQ(t.encode(" ab", {.add_special = false}), (Ids{id("\u2581\u2581"), id("ab")}));
    EXPECT_EQ(t.encode("", {.add_special = false}), Ids{});
    EXPECT_EQ(t.encode(""), Ids{1});
    EXPECT_EQ(t.encode("z", {.add_special = false}), (Ids{id("\u2581"), id("<0x7A>")}));
    EXPECT_EQ(t.token_bytes(id("\u2581ab")), " ab");
    EXPECT_EQ(t.token_text(id("\u2581ab")), "\u2581ab");
    EXPECT_EQ(t.token_bytes(id("<0x0A>")), "\n");
    EXPECT_EQ(t.token_bytes(1), "<s>");
    EXPECT_EQ(t.token_score(id("ab")), -1.0f);
}

TEST(SentencePiece, TextNeverBecomesControlOrByteTokensUnlessAsked) {
    VocabularyFile file = sentencepiece_file();
    // Every step towards "<s>" and "<0x41>" is a piece, so that merging could get there.
    for (const char* piece : {"<", "s", ">", "<s", "0", "x", "4", "1", "<0", "<0x", "<0x4", "<0x41"}) file.add(piece);
    const Tokenizer t = file.load();
    EXPECT_EQ(t.encode("a<s>", {.add_special = false}), (Ids{*t.find("\u2581a"), *t.find("<s"), *t.find(">")}));
    EXPECT_EQ(t.encode("a<0x41>", {.add_special = false}),
              (Ids{*t.find("\u2581a"), *t.find("<0x41"), *t.find(">")}));
    EXPECT_EQ(t.encode("a<s>", {.add_special = false, .parse_special = true}), (Ids{*t.find("\u2581a"), 1}));
}

TEST(SentencePiece, SpaceIsPutBehindAddedTokensAndTakenOut) {
    VocabularyFile file = sentencepiece_file();
    const TokenId user = file.add("[user]", TokenType::user_defined);
    const Tokenizer t = file.load();
    const TokenId a = *t.find("\u2581a");
    EXPECT_EQ(t.encode("a[user]a</s>a", {.parse_special = true}), (Ids{1, a, user, a, 2, a}));
    for (const char* text : {"a[user]a", "[user]", " [user]  a ", "[user][user] b", "a"}) {
        EXPECT_EQ(t.decode(t.encode(text), {.skip_special = true}), text);
        EXPECT_EQ(t.decode(t.encode(text)), std::string("<s>") + text);
    }
    file.more = [](gguf::Writer& w) {
        w.add_bool("tokenizer.ggml.add_space_prefix", false);
        w.add_bool("tokenizer.ggml.add_bos_token", false);
    };
    const Tokenizer bare = file.load();
    EXPECT_EQ(bare.encode("a"), Ids{*bare.find("a")});
    EXPECT_EQ(bare.decode(bare.encode(" a")), " a");
}

TEST(SentencePiece, ExtraSpacesGoWhereTheFileSaysSo) {
    VocabularyFile file = sentencepiece_file();
    file.more = [](gguf::Writer& w) { w.add_bool("tokenizer.ggml.remove_extra_whitespaces", true); };
    const Tokenizer t = file.load();
    EXPECT_EQ(t.encode("  a   b "), t.encode("a b"));
    EXPECT_EQ(t.encode("   "), Ids{1});
}

TEST(SentencePiece, WithoutByteTokensUnknownsAreOne) {
    VocabularyFile file;
    file.add("<unk>", TokenType::unknown);
    file.add("<s>", TokenType::control);
    file.add("\u2581", TokenType::normal, -1);
    file.add("a", TokenType::normal, -2);
    EXPECT_EQ(file.load().encode("axyza\xFFz"), (Ids{1, 2, 3, 0, 3, 0}));
    file.tokens[0] = "other";
    file.types[0] = 1;
    expect_error(ErrorCode::unsupported, {"0x78"}, [&] { file.load().encode("ax"); });
}

TEST(Ends, NeverDoubled) {
    VocabularyFile file = sentencepiece_file();
    const auto base = file.more;
    file.more = [base](gguf::Writer& w) {
        base(w);
        w.add_bool("tokenizer.ggml.add_eos_token", true);
    };
    const Tokenizer t = file.load();
    EXPECT_TRUE(t.adds_bos());
    EXPECT_TRUE(t.adds_eos());
    const TokenId a = *t.find("\u2581a");
    EXPECT_EQ(t.encode("a"), (Ids{1, a, 2}));
    EXPECT_EQ(t.encode("<s>a</s>", {.parse_special = true}), (Ids{1, a, 2}));
    EXPECT_EQ(t.encode("<s>", {.parse_special = true}), (Ids{1, 2}));
    EXPECT_EQ(t.encode("</s>", {.parse_special = true}), (Ids{1, 2}));
    EXPECT_EQ(t.encode("<s><s>a", {.parse_special = true}), (Ids{1, 1, a, 2}));
    EXPECT_EQ(t.encode("a", {.add_special = false}), Ids{a});
}

TEST(Ends, OneTokenForBothStandsAtBoth) {
    VocabularyFile file = byte_bpe_file();
    const TokenId end = static_cast<TokenId>(file.tokens.size()) - 3;
    file.more = [end](gguf::Writer& w) {
        w.add_u32("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(end));
        w.add_u32("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(end));
        w.add_bool("tokenizer.ggml.add_bos_token", true);
        w.add_bool("tokenizer.ggml.add_eos_token", true);
    };
    const Tokenizer t = file.load();
    EXPECT_EQ(t.encode(""), (Ids{end, end}));
    EXPECT_EQ(t.encode("a"), (Ids{end, 'a', end}));
}

TEST(EndOfGeneration, HarmonyMessagesEndInsideAReply) {
    VocabularyFile file = byte_bpe_file();
    const TokenId end = file.add("<|end|>", TokenType::control);
    const TokenId plain = file.add("<|eot_id|>", TokenType::normal);
    file.scores.clear();
    EXPECT_TRUE(file.load().is_end_of_generation(end));
    EXPECT_FALSE(file.load().is_end_of_generation(plain));
    const TokenId reply = file.add("<|return|>", TokenType::control), call = file.add("<|call|>", TokenType::control);
    file.scores.clear();
    const Tokenizer t = file.load();
    EXPECT_FALSE(t.is_end_of_generation(end));
    EXPECT_TRUE(t.is_end_of_generation(reply));
    EXPECT_TRUE(t.is_end_of_generation(call));
}

TEST(WordPiece, NormalisesAndSplits) {
    const Tokenizer t = wordpiece_file().load();
    const auto ids = [&](const std::vector<const char*>& pieces) {
        Ids out;
        for (const char* p : pieces) out.push_back(*t.find(p));
        return out;
    };
    const auto encode = [&](const std::string& text) { return t.encode(text, {.add_special = false}); };
    EXPECT_EQ(encode("Unhappiness, CAF\u00c9s!"),
              ids({"\u2581un", "happi", "ness", "\u2581,", "\u2581cafe", "s", "\u2581!"}));
    EXPECT_EQ(encode("cafe\u0301"), ids({"\u2581cafe"}));
    EXPECT_EQ(encode("\u0130"), ids({"\u2581i"}));
    EXPECT_EQ(encode("the\u4e16\u754cthe"), ids({"\u2581the", "\u2581\u4e16", "\u2581\u754c", "\u2581the"}));
    EXPECT_EQ(encode("\ud558"), ids({"\u2581\u1112", "\u1161"}));  // Hangul is decomposed
    EXPECT_EQ(encode("th\u200be the\u3000the\xFF"), ids({"\u2581the", "\u2581the", "\u2581the"}));
    EXPECT_EQ(encode("$the"), ids({"\u2581$", "\u2581the"}));
    EXPECT_EQ(encode("thex unx"), ids({"[UNK]", "[UNK]"}));
    EXPECT_EQ(encode("\u2581"), ids({"[UNK]"}));
    EXPECT_EQ(t.encode("the"), ids({"[CLS]", "\u2581the", "[SEP]"}));
    EXPECT_EQ(t.decode(t.encode("unhappiness"), {.skip_special = true}), "unhappiness");
    EXPECT_EQ(encode("un" + std::string(98, 's')).size(), 99u);
    EXPECT_EQ(encode("un" + std::string(99, 's')), ids({"[UNK]"}));
}

TEST(WordPiece, CasedVocabulariesKeepCaseAndAccents) {
    VocabularyFile file = wordpiece_file();
    const TokenId upper = file.add("\u2581CAF\u00c9");
    file.scores.clear();
    file.more = [](gguf::Writer& w) { w.add_bool("tokenizer.ggml.normalizer.lowercase", false); };
    const Tokenizer t = file.load();
    EXPECT_EQ(t.encode("CAF\u00c9", {.add_special = false}), Ids{upper});
}

TEST(NoVocabulary, HasASizeAndNoTexts) {
    VocabularyFile file;
    file.model = "no_vocab";
    EXPECT_EQ(file.load().vocab_size(), 0u);
    file.more = [](gguf::Writer& w) { w.add_u32("test.vocab_size", 320); };
    const Tokenizer t = file.load();
    EXPECT_EQ(t.kind(), TokenizerKind::none);
    EXPECT_EQ(t.vocab_size(), 320u);
    EXPECT_EQ(t.bos(), std::nullopt);
    EXPECT_FALSE(t.is_end_of_generation(0));
    expect_error(ErrorCode::unsupported, {"made.gguf", "no vocabulary"}, [&] { t.encode("a"); });
    expect_error(ErrorCode::unsupported, {"no vocabulary"}, [&] { t.decode(Ids{}); });
    expect_error(ErrorCode::unsupported, {"no vocabulary"}, [&] { t.token_text(0); });
    StreamDecoder stream(t);
    expect_error(ErrorCode::unsupported, {"no vocabulary"}, [&] { stream.feed(0); });
}

TEST(StreamDecoder, HoldsIncompleteCodePoints) {
    const Tokenizer t = byte_bpe_file().load();
    StreamDecoder stream(t);
    const auto feed = [&](unsigned byte) { return stream.feed(static_cast<TokenId>(byte)); };
    EXPECT_EQ(feed(0xF0), "");
    EXPECT_EQ(feed(0x9F), "");
    EXPECT_EQ(feed(0xA6), "");
    EXPECT_EQ(stream.pending(), 3u);
    EXPECT_EQ(feed(0x99), "\U0001F999");
    EXPECT_EQ(feed('x'), "x");
    EXPECT_EQ(feed(0xE4), "");
    EXPECT_EQ(feed('y'), "\uFFFDy");  // a maximal subpart is one replacement
    EXPECT_EQ(feed(0xFF), "\uFFFD");
    EXPECT_EQ(feed(0xF0), "");
    EXPECT_EQ(feed(0x9F), "");
    EXPECT_EQ(stream.flush(), "\uFFFD");
    EXPECT_EQ(stream.flush(), "");
    expect_error(ErrorCode::invalid_argument, {"-5"}, [&] { stream.feed(-5); });
}

// All pieces together, and each of them, against decode() and a replacement written independently.
TEST(StreamDecoder, EqualsDecodeWithReplacements) {
    const auto repair = [](const std::string& bytes) {
        std::string out;
        for (std::size_t i = 0; i < bytes.size();) {
            // The longest prefix of a well-formed sequence, by trying: does some continuation complete it?
            const auto completes = [](const std::string& s) {
                std::string tries = s;
                for (const char* tail : {"", "\x80", "\xBF", "\x80\x80", "\xBF\xBF", "\x80\x80\x80", "\xBF\xBF\xBF"}) {
                    tries = s + tail;
                    const utf8::CodePoint c = utf8::decode(tries, 0);
                    if (c.valid && c.length == tries.size()) return true;
                }
                return false;
            };
            const utf8::CodePoint c = utf8::decode(bytes, i);
            if (c.valid) {
                out += bytes.substr(i, c.length);
                i += c.length;
                continue;
            }
            std::size_t length = 1;
            while (i + length < bytes.size() && length < 3 && completes(bytes.substr(i, length + 1))) ++length;
            out += "\uFFFD";
            i += length;
        }
        return out;
    };
    std::mt19937 random(3);
    for (const Tokenizer& t : {byte_bpe_file().load(), sentencepiece_file().load()}) {
        for (int round = 0; round < 300; ++round) {
            Ids ids;
            for (std::size_t n = random() % 40; n > 0; --n) {
                ids.push_back(static_cast<TokenId>(random() % t.vocab_size()));
            }
            for (const bool skip : {false, true}) {
                StreamDecoder stream(t, {.skip_special = skip});
                std::string all;
                for (const TokenId id : ids) {
                    const std::string piece = stream.feed(id);
                    EXPECT_EQ(repair(piece), piece);
                    all += piece;
                }
                all += stream.flush();
                EXPECT_EQ(all, repair(t.decode(ids, {.skip_special = skip})));
            }
        }
    }
}

TEST(StreamDecoder, AContinuationKeepsItsSpace) {
    const Tokenizer t = sentencepiece_file().load();
    const TokenId a = *t.find("\u2581a");
    EXPECT_EQ(StreamDecoder(t).feed(a), "a");
    EXPECT_EQ(StreamDecoder(t, {.after = 1}).feed(a), "a");
    EXPECT_EQ(StreamDecoder(t, {.after = a}).feed(a), " a");
    expect_error(ErrorCode::invalid_argument, {"9999"}, [&] { StreamDecoder(t, {.after = 9999}); });
}

}  // namespace
}  // namespace tern::test
