#include "tokenizer/pieces.h"

#include <fmt/format.h>

#include <tern/error.h>

namespace tern::tokenizer {

namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

// The byte of "<0x0A>"; -1 if the text is another.
int parse_byte(std::string_view text) {
    if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
    const int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

}  // namespace

PieceBytes::PieceBytes(const gguf::File& file, const Vocabulary& vocabulary) : vocabulary_(vocabulary) {
    byte_tokens_.fill(-1);
    for (std::size_t i = 0; i < vocabulary.size(); ++i) {
        const auto id = static_cast<TokenId>(i);
        if (vocabulary.type(id) != TokenType::byte) continue;
        const int byte = parse_byte(vocabulary.text(id));
        if (byte < 0) {
            throw Error(ErrorCode::bad_file,
                        fmt::format("{}: key 'tokenizer.ggml.token_type': token {} is of type byte, but its text "
                                    "'{}' is not of the form <0x00>",
                                    file.name(), id, vocabulary.text(id)));
        }
        byte_tokens_[static_cast<std::size_t>(byte)] = id;
    }
}

bool PieceBytes::encode_unknown(std::string_view piece, bool after_unknown, std::vector<TokenId>& out) const {
    const std::size_t before = out.size();
    for (const char c : piece) {
        const TokenId id = byte_tokens_[static_cast<unsigned char>(c)];
        if (id >= 0) {
            out.push_back(id);
            continue;
        }
        out.resize(before);
        if (!vocabulary_.unk) {
            throw Error(ErrorCode::unsupported,
                        fmt::format("encoding text: the vocabulary has no token for byte 0x{:02X} and no unknown "
                                    "token",
                                    static_cast<unsigned char>(c)));
        }
        if (!after_unknown) out.push_back(*vocabulary_.unk);
        return true;
    }
    return false;
}

void PieceBytes::append_bytes(TokenId id, std::string& out) const {
    std::string_view text = vocabulary_.text(id);
    if (vocabulary_.type(id) == TokenType::byte) {
        out.push_back(static_cast<char>(parse_byte(text)));
        return;
    }
    for (std::size_t pos; (pos = text.find(kSpacePiece)) != std::string_view::npos;) {
        out.append(text.substr(0, pos)).push_back(' ');
        text.remove_prefix(pos + kSpacePiece.size());
    }
    out.append(text);
}

}  // namespace tern::tokenizer
