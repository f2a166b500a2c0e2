// Texts and ids of public models' own tokenisers.
#include <sstream>

#include "small_vocabularies.h"
#include "tests/support/reference_data.h"

namespace tern::test {
namespace {

std::vector<std::string> split_texts(const std::string& all) {
    const std::string mark = "\n__ggml_vocab_test__\n";
    std::vector<std::string> texts;
    std::size_t pos = 0;
    for (std::size_t end; (end = all.find(mark, pos)) != std::string::npos; pos = end + mark.size()) {
        texts.push_back(all.substr(pos, end - pos));
    }
    return texts;
}

std::vector<Ids> read_ids(const std::string& all) {
    std::vector<Ids> out;
    std::istringstream lines(all);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream numbers(line);
        Ids ids;
        for (TokenId id; numbers >> id;) ids.push_back(id);
        out.push_back(ids);
    }
    return out;
}

class RealVocabulary : public ::testing::TestWithParam<const char*> {};

TEST_P(RealVocabulary, EncodesAllTexts) {
    const std::string name = GetParam();
    TERN_REFERENCE(path, "vocab/" + name + ".gguf");
    const Tokenizer tokenizer = Tokenizer::from_gguf(gguf::File::open(path, {.need_data = false}));
    const auto texts = split_texts(read_file(reference_data() / ("vocab/" + name + ".inp")));
    const auto expected = read_ids(read_file(reference_data() / ("vocab/" + name + ".out")));
    ASSERT_EQ(texts.size(), expected.size());
    ASSERT_GE(texts.size(), 40u);
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const Ids ids = tokenizer.encode(texts[i], {.add_special = false});
        EXPECT_EQ(ids, expected[i]) << name << " text " << i << ": " << texts[i];
        if (tokenizer.kind() != TokenizerKind::wordpiece) {
            EXPECT_EQ(tokenizer.decode(ids), texts[i]);
        }
        StreamDecoder stream(tokenizer);
        std::string streamed;
        for (const TokenId id : ids) streamed += stream.feed(id);
        streamed += stream.flush();
        EXPECT_EQ(streamed, tokenizer.decode(ids));
    }
}

TEST_P(RealVocabulary, RoundTripsRandomText) {
    const std::string name = GetParam();
    if (name == "bert-bge") GTEST_SKIP() << "WordPiece does not keep the text";
    TERN_REFERENCE(path, "vocab/" + name + ".gguf");
    const Tokenizer tokenizer = Tokenizer::from_gguf(gguf::File::open(path, {.need_data = false}));
    std::mt19937 random(7);
    for (std::size_t i = 0; i < 300; ++i) {
        const std::string text = random_text(random, i % 90);
        EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, {.add_special = false})), text);
        const std::string bytes = random_bytes(random, i % 90);
        EXPECT_EQ(tokenizer.decode(tokenizer.encode(bytes, {.add_special = false})), bytes);
    }
}

INSTANTIATE_TEST_SUITE_P(All, RealVocabulary,
                         ::testing::Values("bert-bge", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"),
                         [](const auto& param) {
                             std::string name = param.param;
                             for (char& c : name) c = c == '-' ? '_' : c;
                             return name;
                         });

Tokenizer open(const std::filesystem::path& path) {
    return Tokenizer::from_gguf(gguf::File::open(path, {.need_data = false}));
}

TEST(RealVocabularyRules, Llama3) {
    TERN_REFERENCE(path, "vocab/llama-bpe.gguf");
    const Tokenizer t = open(path);
    EXPECT_EQ(t.kind(), TokenizerKind::byte_bpe);
    EXPECT_EQ(t.pre_tokenizer(), "llama-bpe");
    EXPECT_EQ(t.vocab_size(), 128256u);
    EXPECT_TRUE(t.adds_bos());
    EXPECT_FALSE(t.adds_eos());
    EXPECT_EQ(t.bos(), 128000);
    EXPECT_EQ(t.eos(), 128009);
    EXPECT_EQ(t.eot(), 128009);
    EXPECT_EQ(t.encode("Hello world"), (Ids{128000, 9906, 1917}));
    const std::string text = "<|begin_of_text|>Hello world<|eot_id|>";
    EXPECT_EQ(t.encode(text, {.parse_special = true}), (Ids{128000, 9906, 1917, 128009}));
    for (const TokenId id : t.encode(text, {.add_special = false})) EXPECT_LT(id, 128000);
    for (const TokenId id : {128001, 128009}) EXPECT_TRUE(t.is_end_of_generation(id));
    for (const TokenId id : {128000, 128006, 0, -1, 128256}) EXPECT_FALSE(t.is_end_of_generation(id));
}

TEST(RealVocabularyRules, Qwen2AndGpt2AddNothing) {
    TERN_REFERENCE(path, "vocab/qwen2.gguf");
    const Tokenizer qwen = open(path);
    EXPECT_FALSE(qwen.adds_bos());
    EXPECT_EQ(qwen.bos(), std::nullopt);
    EXPECT_EQ(qwen.eot(), qwen.eos());
    EXPECT_TRUE(qwen.is_end_of_generation(151643));  // <|endoftext|>
    EXPECT_TRUE(qwen.is_end_of_generation(151645));  // <|im_end|>
    EXPECT_EQ(qwen.encode("Hello"), qwen.encode("Hello", {.add_special = false}));
    const Tokenizer gpt2 = open(reference_data() / "vocab/gpt-2.gguf");
    EXPECT_FALSE(gpt2.adds_bos());
    EXPECT_EQ(gpt2.bos(), 50256);
}

TEST(RealVocabularyRules, Phi3AddedTokensTakeTheWhiteSpaceBehindThem) {
    TERN_REFERENCE(path, "vocab/phi-3.gguf");
    const Tokenizer t = open(path);
    const Ids tight = t.encode("<|user|>Hello<|end|><|assistant|>", {.parse_special = true});
    EXPECT_EQ(tight, (Ids{1, 32010, 15043, 32007, 32001}));
    EXPECT_EQ(t.encode("<|user|>\nHello<|end|> \n\t<|assistant|>\n", {.parse_special = true}), tight);
    EXPECT_TRUE(t.is_end_of_generation(32007));
    EXPECT_TRUE(t.is_end_of_generation(32000));
    EXPECT_EQ(t.encode("a</s> b", {.add_special = false}), (Ids{263, 2, 289}));  // user-defined: always matched
}

TEST(RealVocabularyRules, Bert) {
    TERN_REFERENCE(path, "vocab/bert-bge.gguf");
    const Tokenizer t = open(path);
    EXPECT_EQ(t.encode("Hello, world!"), (Ids{101, 7592, 1010, 2088, 999, 102}));
    EXPECT_EQ(t.encode(""), (Ids{101, 102}));
    EXPECT_EQ(t.encode("[CLS] hello [SEP]", {.parse_special = true}), (Ids{101, 7592, 102}));
    EXPECT_EQ(t.decode(t.encode("Hello, world!"), {.skip_special = true}), "hello , world !");
    EXPECT_EQ(t.encode("CAF\u00c9 \u0130", {.add_special = false}), t.encode("cafe i", {.add_special = false}));
}

TEST(RealVocabularyRules, BertTextsOfTheEmbeddingModels) {
    for (const std::string name : {"bert", "nomic-bert"}) {
        TERN_REFERENCE(path, "embed/" + name + ".gguf");
        const Tokenizer t = open(path);
        const auto expected = read_ids(read_file(reference_data() / ("embed/" + name + ".tokens")));
        const std::vector<std::string> texts = {"The cat sat on the mat", "Unhappiness, singing RED rivers!",
                                                "international stone-light"};
        ASSERT_EQ(expected.size(), texts.size());
        for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(t.encode(texts[i]), expected[i]) << texts[i];
    }
}

}  // namespace
}  // namespace tern::test
