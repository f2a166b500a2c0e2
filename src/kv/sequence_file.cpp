#include "kv/sequence_file.h"

#include <fmt/format.h>
#include <tern/error.h>

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/hash.h"

namespace tern::kv {
namespace {

constexpr char kMagic[8] = {'T', 'E', 'R', 'N', 'S', 'E', 'Q', '\0'};
constexpr std::uint32_t kVersion = 1;
// Of docs/numerics.md. A change of any result makes saved caches of the older arithmetic foreign.
constexpr std::uint64_t kArithmetic = 1;
constexpr std::uint64_t kMaxTokens = std::uint64_t{1} << 31;

struct Header {
    char magic[8];
    std::uint32_t version, kv_type;
    std::uint64_t identity, arithmetic;
    std::uint32_t positions, groups;
    std::uint64_t page_bytes, tokens, text_bytes;
};
static_assert(sizeof(Header) == 64);

class Writer {
public:
    explicit Writer(const std::filesystem::path& path) : path_(path), temporary_(path) {
        temporary_ += fmt::format(".{}.part", ::getpid());
        file_ = std::fopen(temporary_.c_str(), "wb");
        if (!file_) fail("create");
    }
    ~Writer() {
        if (!file_) return;
        std::fclose(file_);
        std::remove(temporary_.c_str());
    }
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    void add(std::span<const std::byte> bytes) {
        hash_.add(bytes);
        if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) fail("write");
    }
    void finish() {
        const std::uint64_t sum = hash_.value();
        add(std::as_bytes(std::span(&sum, 1)));
        if (std::fflush(file_) != 0 || ::fsync(::fileno(file_)) != 0) fail("write");
        std::FILE* file = std::exchange(file_, nullptr);
        if (std::fclose(file) != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
            const int error = errno;
            std::remove(temporary_.c_str());
            errno = error;
            fail("write");
        }
    }

private:
    [[noreturn]] void fail(const char* what) {
        throw Error(ErrorCode::io, fmt::format("cannot {} '{}': {}", what, path_.string(), std::strerror(errno)));
    }
    const std::filesystem::path path_;
    std::filesystem::path temporary_;
    std::FILE* file_ = nullptr;
    base::Hasher hash_;
};

}  // namespace

void write_sequence(const std::filesystem::path& path, const SequenceKind& kind, std::span<const TokenId> tokens,
                    std::string_view text, const PageTable& table, const backend::KvMemory& memory) {
    Header header{};
    std::memcpy(header.magic, kMagic, sizeof kMagic);
    header.version = kVersion;
    header.kv_type = static_cast<std::uint32_t>(kind.type);
    header.identity = kind.identity;
    header.arithmetic = kArithmetic;
    header.positions = page_positions();
    header.groups = kind.groups;
    header.page_bytes = kind.page_bytes;
    header.tokens = tokens.size();
    header.text_bytes = text.size();
    Writer out(path);
    out.add(std::as_bytes(std::span(&header, 1)));
    out.add(std::as_bytes(tokens));
    out.add(std::as_bytes(std::span(text)));
    for (const std::uint32_t page : table.pages()) {
        const std::byte there{page != kNoPage};
        out.add({&there, 1});
    }
    std::vector<std::byte> bytes(kind.page_bytes);
    for (const std::uint32_t page : table.pages()) {
        if (page == kNoPage) continue;
        memory.read_page(page, bytes);
        out.add(bytes);
    }
    out.finish();
}

SequenceFile::SequenceFile(const std::filesystem::path& path, const SequenceKind& kind)
    : file_(base::MappedFile::read(path)), groups_(kind.groups) {
    const std::span<const std::byte> all = file_.bytes();
    const auto bad = [&](const std::string& what) {
        return Error(ErrorCode::bad_file, fmt::format("'{}' {}", path.string(), what));
    };
    Header header;
    if (all.size() < sizeof header || std::memcmp(all.data(), kMagic, sizeof kMagic) != 0)
        throw bad("is no saved sequence");
    std::memcpy(&header, all.data(), sizeof header);
    if (header.version != kVersion)
        throw bad(fmt::format("is of version {} of the format; this Tern reads version {}", header.version, kVersion));
    // Sizes before the checksum, so that a file that was cut off is called that.
    const std::uint64_t left = all.size() - sizeof header;
    std::uint64_t at = sizeof header;
    const std::uint64_t blocks = header.tokens / page_positions() + (header.tokens % page_positions() != 0);
    std::uint64_t expected = 0;
    if (header.positions != page_positions()) throw bad("has pages of another length, so it is of another version of Tern");
    if (header.tokens > kMaxTokens || header.text_bytes > left || header.groups == 0 || header.groups > 4096 ||
        header.tokens * sizeof(TokenId) > left)
        throw bad("is cut off or damaged: its sizes are beyond its end");
    expected = header.tokens * sizeof(TokenId) + header.text_bytes + blocks * header.groups;
    if (expected + sizeof(std::uint64_t) > left) throw bad("is cut off: it ends before its pages");
    const std::byte* flags = all.data() + at + header.tokens * sizeof(TokenId) + header.text_bytes;
    std::uint64_t present = 0;
    for (std::uint64_t i = 0; i < blocks * header.groups; ++i) present += flags[i] == std::byte{1};
    if (present != 0 && header.page_bytes > left / present) throw bad("is cut off: it ends within its pages");
    expected += present * header.page_bytes + sizeof(std::uint64_t);
    if (expected != left) throw bad(expected > left ? "is cut off: it ends within its pages" : "is damaged: it is too long");
    std::uint64_t sum;
    std::memcpy(&sum, all.data() + all.size() - sizeof sum, sizeof sum);
    if (base::hash(all.first(all.size() - sizeof sum)) != sum) throw bad("is damaged: its checksum does not fit its content");

    if (header.arithmetic != kArithmetic) throw bad("was computed with another version's arithmetic; compute it again");
    if (header.kv_type != static_cast<std::uint32_t>(kind.type))
        throw bad("holds another KV type than this engine; open the engine with that type or compute it again");
    if (header.identity != kind.identity || header.groups != kind.groups || header.page_bytes != kind.page_bytes)
        throw bad("is of another model, or of one whose layers were divided between other devices");
    tokens_.resize(header.tokens);
    if (!tokens_.empty()) std::memcpy(tokens_.data(), all.data() + at, tokens_.size() * sizeof(TokenId));
    at += header.tokens * sizeof(TokenId);
    text_.assign(reinterpret_cast<const char*>(all.data() + at), header.text_bytes);
    at += header.text_bytes + blocks * header.groups;
    pages_.reserve(blocks * header.groups);
    for (std::uint64_t i = 0; i < blocks * header.groups; ++i) {
        const bool there = flags[i] == std::byte{1};
        pages_.push_back(there ? all.subspan(at, kind.page_bytes) : std::span<const std::byte>{});
        if (there) at += kind.page_bytes;
    }
}

}  // namespace tern::kv
