// Against the algorithms written in the plainest way: quadratic, on strings.
#include <map>
#include <utility>

#include "small_vocabularies.h"

namespace tern::test {
namespace {

// Joins the best pair until there is none. `value` gives the rank of a pair, or a negative number.
template <class Value>
std::vector<std::string> merge_naively(std::vector<std::string> parts, Value&& value) {
    for (;;) {
        std::size_t best = 0;
        double best_value = -1;
        for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
            const double v = value(parts[i], parts[i + 1]);
            if (v >= 0 && (best_value < 0 || v < best_value)) {
                best = i;
                best_value = v;
            }
        }
        if (best_value < 0) return parts;
        parts[best] += parts[best + 1];
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
}

TEST(Oracle, SentencePiece) {
    const VocabularyFile file = sentencepiece_file();
    const Tokenizer tokenizer = file.load();
    std::map<std::string, TokenId> ids;
    for (std::size_t i = 259; i < file.tokens.size(); ++i) ids[file.tokens[i]] = static_cast<TokenId>(i);
    std::mt19937 random(1);
    for (int round = 0; round < 2000; ++round) {
        const std::string text = random_text(random, 1 + random() % 60);
        std::vector<std::string> characters = {"\u2581"};
        for (std::size_t pos = 0; pos < text.size();) {
            const std::size_t length = utf8::decode(text, pos).length;
            const std::string c = text.substr(pos, length);
            characters.push_back(c == " " ? "\u2581" : c);
            pos += length;
        }
        Ids expected;
        for (const std::string& part : merge_naively(characters, [&](const std::string& a, const std::string& b) {
                 const auto it = ids.find(a + b);
                 return it == ids.end() ? -1.0 : -static_cast<double>(file.scores[static_cast<std::size_t>(it->second)]);
             })) {
            if (const auto it = ids.find(part); it != ids.end()) {
                expected.push_back(it->second);
            } else {
                for (const char c : part) expected.push_back(3 + static_cast<unsigned char>(c));
            }
        }
        ASSERT_EQ(tokenizer.encode(text, {.add_special = false}), expected) << text;
    }
}

TEST(Oracle, ByteBpe) {
    const VocabularyFile file = byte_bpe_file();
    const Tokenizer tokenizer = file.load();
    const auto spellings = byte_spellings();
    std::map<std::string, TokenId> ids;
    std::map<std::string, double> ranks;
    for (std::size_t i = 0; i < file.tokens.size(); ++i) ids[file.tokens[i]] = static_cast<TokenId>(i);
    for (std::size_t i = 0; i < file.merges.size(); ++i) ranks[file.merges[i]] = static_cast<double>(i);
    std::mt19937 random(2);
    for (int round = 0; round < 2000; ++round) {
        // One word of the pattern: letters, which may include any number of non-ASCII ones.
        std::string word = random() % 2 ? " " : "";
        for (std::size_t i = 1 + random() % 40; i > 0; --i) {
            const unsigned pick = static_cast<unsigned>(random() % 7);
            word += pick < 5 ? std::string(1, static_cast<char>('a' + pick)) : std::string(pick == 5 ? "\u00e9" : "a");
        }
        std::vector<std::string> bytes;
        for (const char c : word) bytes.push_back(spellings[static_cast<unsigned char>(c)]);
        Ids expected;
        for (const std::string& part : merge_naively(bytes, [&](const std::string& a, const std::string& b) {
                 const auto it = ranks.find(a + " " + b);
                 return it == ranks.end() ? -1.0 : it->second;
             })) {
            expected.push_back(ids.at(part));
        }
        ASSERT_EQ(tokenizer.encode(word, {.add_special = false}), expected) << word;
    }
}

}  // namespace
}  // namespace tern::test
