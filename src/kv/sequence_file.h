// A sequence's tokens, text and KV pages in a file.
//
// Little endian, as all numbers of GGUF: "TERNSEQ\0", u32 version, u32 KV type, u64 identity of the model, u64 version of
// the arithmetic, u32 positions of a page, u32 groups, u64 page bytes, u64 tokens, u64 bytes of text; the tokens (i32),
// the text; for each block of a page's positions and each group a byte, 1 where its page follows; those pages; and the
// XXH3-64 of everything before it.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <tern/engine.h>

#include "base/mapped_file.h"
#include "kv/page_pool.h"

namespace tern::kv {

// What a file must agree with.
struct SequenceKind {
    std::uint64_t identity = 0;
    KvType type = KvType::f16;
    std::uint32_t groups = 1;
    std::uint64_t page_bytes = 0;
};

// The table holds the tokens. Written beside `path` and then renamed. Error(io).
void write_sequence(const std::filesystem::path& path, const SequenceKind& kind, std::span<const TokenId> tokens,
                    std::string_view text, const PageTable& table, const backend::KvMemory& memory);

class SequenceFile {
public:
    // Reads and checks all of it. Error(not_found), Error(io), Error(bad_file) saying what is wrong.
    SequenceFile(const std::filesystem::path& path, const SequenceKind& kind);

    const std::vector<TokenId>& tokens() const noexcept { return tokens_; }
    const std::string& text() const noexcept { return text_; }
    std::uint32_t blocks() const noexcept { return static_cast<std::uint32_t>(pages_.size() / groups_); }
    // Of one block and group; empty where the file has none.
    std::span<const std::byte> page(std::uint32_t block, std::uint32_t group) const noexcept {
        return pages_[std::size_t{block} * groups_ + group];
    }

private:
    base::MappedFile file_;
    std::uint32_t groups_;
    std::vector<TokenId> tokens_;
    std::string text_;
    std::vector<std::span<const std::byte>> pages_;
};

}  // namespace tern::kv
