// Reading a hostile byte range: nothing is read, allocated or skipped before it is known to lie in the file.
#pragma once

#include <fmt/format.h>
#include <tern/error.h>
#include <tern/gguf.h>

#include <bit>
#include <cstring>
#include <string>
#include <type_traits>

namespace tern::gguf {

static_assert(std::endian::native == std::endian::little, "GGUF is read in place, as little-endian");

// Bytes of one element; 0 for strings and arrays, whose size is in the file.
constexpr std::size_t fixed_size(ValueType type) noexcept {
    switch (type) {
        case ValueType::u8:
        case ValueType::i8:
        case ValueType::boolean:
            return 1;
        case ValueType::u16:
        case ValueType::i16:
            return 2;
        case ValueType::u32:
        case ValueType::i32:
        case ValueType::f32:
            return 4;
        case ValueType::u64:
        case ValueType::i64:
        case ValueType::f64:
            return 8;
        case ValueType::string:
        case ValueType::array:
            return 0;
    }
    return 0;
}

template <class T>
T load(const std::byte* at) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

// Text from a file made fit for a message: quoted, control characters escaped, cut after 80 bytes.
std::string quoted(std::string_view text);
// As quoted(), without quotes and uncut.
std::string escaped(std::string_view text);

class Cursor {
public:
    Cursor(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

    std::uint64_t offset() const noexcept { return offset_; }
    std::uint64_t remaining() const noexcept { return bytes_.size() - offset_; }
    const std::byte* here() const noexcept { return bytes_.data() + offset_; }

    [[noreturn]] void fail(std::uint64_t at, std::string_view message,
                           ErrorCode code = ErrorCode::bad_file) const {
        throw Error(code, fmt::format("'{}', offset {}: {}", file_, at, message));
    }

    // `what` names the thing being read, for the message.
    void need(std::uint64_t size, std::string_view what) const {
        if (size > remaining())
            fail(offset_,
                 fmt::format("{} needs {} bytes but the file ends after {}; it is cut off or damaged, "
                             "copy or download it again",
                             what, size, remaining()));
    }

    template <class T>
    T read(std::string_view what) {
        need(sizeof(T), what);
        const T value = load<T>(here());
        offset_ += sizeof(T);
        return value;
    }

    void skip(std::uint64_t size, std::string_view what) {
        need(size, what);
        offset_ += size;
    }

    // A u64 length and that many bytes. Lengths above `limit` are refused.
    std::string_view read_string(std::uint64_t limit, std::string_view what) {
        const std::uint64_t at = offset_;
        const auto size = read<std::uint64_t>(what);
        if (size > limit)
            fail(at, fmt::format("{} has a length of {} bytes, the limit is {}", what, size, limit));
        if (size > remaining())
            fail(at, fmt::format("{} has a length of {} bytes but the file ends after {}", what, size,
                                 remaining()));
        const std::string_view text(reinterpret_cast<const char*>(here()), size);
        offset_ += size;
        return text;
    }

private:
    std::span<const std::byte> bytes_;
    const std::string& file_;
    std::uint64_t offset_ = 0;
};

}  // namespace tern::gguf
