// Just enough of C++'s lexical grammar to look at the tree's own sources: includes, and code without comments and
// literals.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace tern::test {

struct Include {
    std::string name;  // as written between the delimiters
    bool angled;       // <name>, not "name"
    int line;          // from 1
};

struct SourceText {
    std::string code;  // comments and the contents of literals are blanked; lines stay where they were
    std::vector<Include> includes;
};

inline bool is_identifier_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

inline std::string blank_comments_and_literals(std::string_view text) {
    std::string out(text);
    const auto blank = [&](std::size_t from, std::size_t to) {
        for (std::size_t i = from; i < to && i < out.size(); ++i)
            if (out[i] != '\n') out[i] = ' ';
    };
    std::size_t i = 0;
    while (i < text.size()) {
        if (text.substr(i, 2) == "//") {
            const std::size_t end = std::min(text.find('\n', i), text.size());
            blank(i, end);
            i = end;
        } else if (text.substr(i, 2) == "/*") {
            const std::size_t close = text.find("*/", i + 2);
            const std::size_t end = close == text.npos ? text.size() : close + 2;
            blank(i, end);
            i = end;
        } else if (text[i] == '"' && i > 0 && text[i - 1] == 'R' && text.find('(', i) != text.npos) {
            const std::size_t open = text.find('(', i);
            const std::string end_mark = ")" + std::string(text.substr(i + 1, open - i - 1)) + "\"";
            const std::size_t close = text.find(end_mark, open);
            const std::size_t end = close == text.npos ? text.size() : close + end_mark.size();
            blank(i + 1, end - 1);
            i = end;
        } else if (text[i] == '"' || (text[i] == '\'' && (i == 0 || !is_identifier_char(text[i - 1])))) {
            const char quote = text[i];
            std::size_t end = i + 1;
            while (end < text.size() && text[end] != quote && text[end] != '\n') end += text[end] == '\\' ? 2 : 1;
            blank(i + 1, end);
            i = end + 1;
        } else {
            ++i;
        }
    }
    return out;
}

inline SourceText parse_source(std::string_view text) {
    SourceText out{blank_comments_and_literals(text), {}};
    int number = 1;
    for (std::size_t begin = 0; begin < text.size(); ++number) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        const std::string_view code = std::string_view(out.code).substr(begin, end - begin);
        const std::string_view line = text.substr(begin, end - begin);
        begin = end + 1;
        const std::size_t hash = code.find_first_not_of(" \t");
        if (hash == code.npos || code[hash] != '#') continue;
        const std::size_t word = code.find_first_not_of(" \t", hash + 1);
        if (word == code.npos || code.substr(word, 7) != "include") continue;
        const std::size_t open = line.find_first_of("<\"", word + 7);
        if (open == line.npos) continue;
        const bool angled = line[open] == '<';
        const std::size_t close = line.find(angled ? '>' : '"', open + 1);
        if (close != line.npos)
            out.includes.push_back({std::string(line.substr(open + 1, close - open - 1)), angled, number});
    }
    return out;
}

// Lines (from 1) where `word` stands as an identifier of its own; with `call`, only where "(" follows.
inline std::vector<int> find_word(std::string_view code, std::string_view word, bool call) {
    std::vector<int> lines;
    int line = 1;
    std::size_t counted = 0;
    for (std::size_t at = code.find(word); at != code.npos; at = code.find(word, at + 1)) {
        for (; counted < at; ++counted) line += code[counted] == '\n';
        if (at > 0 && is_identifier_char(code[at - 1])) continue;
        std::size_t next = at + word.size();
        if (next < code.size() && is_identifier_char(code[next])) continue;
        next = code.find_first_not_of(" \t\n", next);
        if (call && (next == code.npos || code[next] != '(')) continue;
        lines.push_back(line);
    }
    return lines;
}

// The C++ sources below a folder, sorted.
inline std::vector<std::filesystem::path> sources_below(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> out;
    if (!std::filesystem::is_directory(folder)) return out;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
        const std::string extension = entry.path().extension().string();
        if (extension == ".h" || extension == ".cpp" || extension == ".def") out.push_back(entry.path());
    }
    std::sort(out.begin(), out.end());
    return out;
}

}  // namespace tern::test
