// Small vocabularies in tests/data/tokenizer, and what other programs make of texts with them. How they were made
// stands in the .py beside each .json.
#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include <nlohmann/json.hpp>

#include "small_vocabularies.h"
#include "tests/support/reference_data.h"

namespace tern::test {
namespace {

nlohmann::json golden(const std::string& name) {
    return nlohmann::json::parse(read_file(std::filesystem::path(TERN_SOURCE_DIR) / "tests/data/tokenizer" / name));
}

Ids parse_ids(const std::string& line) {
    std::istringstream in(line);
    Ids ids;
    for (TokenId id; in >> id;) ids.push_back(id);
    return ids;
}

TEST(Golden, EverySplitPattern) {
    const nlohmann::json data = golden("byte_bpe.json");
    VocabularyFile file;
    file.model = "gpt2";
    for (const std::string& spelling : byte_spellings()) file.add(spelling);
    file.merges = data["merges"].get<std::vector<std::string>>();
    for (std::string merge : file.merges) file.add(merge.erase(merge.find(' ', 1), 1));
    for (const std::string text : data["whole"]) file.add(text);
    const TokenId bos = file.add("<s>", TokenType::control);
    file.scores.clear();
    file.more = [bos](gguf::Writer& w) { w.add_u32("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(bos)); };

    const auto texts = data["texts"].get<std::vector<std::string>>();
    const auto with_bos = data["adds_bos"].get<std::set<std::string>>();
    std::set<std::string> seen;
    for (const nlohmann::json& group : data["ids"]) {
        for (const std::string name : group["pre"]) {
            SCOPED_TRACE(name);
            seen.insert(name);
            file.pre = name;
            const Tokenizer tokenizer = file.load();
            EXPECT_EQ(tokenizer.adds_bos(), with_bos.contains(name));
            for (std::size_t i = 0; i < texts.size(); ++i) {
                const Ids ids = tokenizer.encode(texts[i], {.add_special = false});
                EXPECT_EQ(ids, parse_ids(group["ids"][i])) << texts[i];
                EXPECT_EQ(tokenizer.decode(ids), texts[i]);
            }
        }
    }
    for (const std::string& name : Tokenizer::pre_tokenizers()) {
        EXPECT_TRUE(name == "gpt2" || seen.contains(name)) << name << " is not tested";
    }
}

VocabularyFile unigram_file(const nlohmann::json& model) {
    VocabularyFile file;
    file.model = "t5";
    const auto tokens = model["tokens"].get<std::vector<std::string>>();
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        file.add(tokens[i], static_cast<TokenType>(model["types"][i].get<int>()), model["scores"][i].get<float>());
    }
    std::vector<std::int32_t> charsmap;
    const std::string hex = model["charsmap"];
    for (std::size_t i = 0; i < hex.size(); i += 2) {
        charsmap.push_back(std::stoi(hex.substr(i, 2), nullptr, 16));
    }
    const bool prefix = model["add_space_prefix"], drop = model["remove_extra_whitespaces"];
    file.more = [=](gguf::Writer& w) {
        if (!charsmap.empty()) w.add_i32s("tokenizer.ggml.precompiled_charsmap", charsmap);
        w.add_bool("tokenizer.ggml.add_space_prefix", prefix);
        w.add_bool("tokenizer.ggml.remove_extra_whitespaces", drop);
    };
    return file;
}

TEST(Golden, Unigram) {
    const nlohmann::json data = golden("unigram.json");
    ASSERT_EQ(data["models"].size(), 2u);
    for (const nlohmann::json& model : data["models"]) {
        const Tokenizer tokenizer = unigram_file(model).load();
        EXPECT_EQ(tokenizer.kind(), TokenizerKind::unigram);
        EXPECT_TRUE(tokenizer.adds_eos());
        EXPECT_FALSE(tokenizer.adds_bos());
        for (std::size_t i = 0; i < data["texts"].size(); ++i) {
            const std::string text = data["texts"][i];
            const Ids ids = tokenizer.encode(text, {.add_special = false});
            EXPECT_EQ(ids, parse_ids(model["ids"][i])) << text;
            if (!model["remove_extra_whitespaces"].get<bool>() && text.find("\u2581") == std::string::npos) {
                EXPECT_EQ(tokenizer.decode(ids), text);
            }
        }
        const Ids ends = tokenizer.encode("The dog");
        EXPECT_EQ(ends.back(), tokenizer.eos());
    }
}

// Of all ways to cut the text, tried one by one.
double best_score(const std::map<std::string, double>& pieces, double unknown, const std::string& text) {
    if (text.empty()) return 0;
    double best = -1e30;
    for (std::size_t length = 1; length <= text.size(); ++length) {
        const auto piece = pieces.find(text.substr(0, length));
        if (piece == pieces.end() && (length != 1 || pieces.contains(text.substr(0, 1)))) continue;
        const double score = piece == pieces.end() ? unknown : piece->second;
        best = std::max(best, score + best_score(pieces, unknown, text.substr(length)));
    }
    return best;
}

TEST(Golden, UnigramIsTheBestOfAllCuts) {
    VocabularyFile file;
    file.model = "t5";
    file.add("<unk>", TokenType::unknown);
    file.add("</s>", TokenType::control);
    std::map<std::string, double> pieces;
    std::mt19937 random(3);
    for (const char* piece : {"a", "b", "c", "ab", "bc", "abc", "ca", "aa", "bcab", "aab", "cc"}) {
        const float score = -static_cast<float>(random() % 400) / 64.0f;
        file.add(piece, TokenType::normal, score);
        pieces[piece] = double{score};
    }
    file.more = [](gguf::Writer& w) { w.add_bool("tokenizer.ggml.add_space_prefix", false); };
    double worst = 0;
    for (const auto& [piece, score] : pieces) worst = std::min(worst, score);
    const Tokenizer tokenizer = file.load();
    for (int round = 0; round < 300; ++round) {
        std::string text;
        for (std::size_t i = 0; i < 1 + round % 12u; ++i) text += "abcabcabcz"[random() % 10];
        double sum = 0;
        std::string spelled;
        for (const TokenId id : tokenizer.encode(text, {.add_special = false})) {
            if (tokenizer.token_type(id) == TokenType::unknown) {
                // Neighbours that are unknown become one token.
                do {
                    sum += worst - 10;
                    spelled += 'z';
                } while (text[spelled.size()] == 'z');
            } else {
                sum += double{tokenizer.token_score(id)};
                spelled += tokenizer.token_text(id);
            }
        }
        EXPECT_EQ(spelled, text);
        EXPECT_NEAR(sum, best_score(pieces, worst - 10, text), 1e-9) << text;
    }
}

}  // namespace
}  // namespace tern::test
