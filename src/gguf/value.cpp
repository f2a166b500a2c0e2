#include <limits>

#include "gguf/cursor.h"

namespace tern::gguf {
namespace {

struct Integer {
    bool negative;
    std::uint64_t bits;  // two's complement where negative
};

template <class T>
Integer integer_at(const std::byte* at) noexcept {
    const T value = load<T>(at);
    if constexpr (std::is_signed_v<T>)
        return {value < 0, static_cast<std::uint64_t>(static_cast<std::int64_t>(value))};
    else
        return {false, value};
}

bool is_integer(ValueType type) noexcept {
    return fixed_size(type) != 0 && type != ValueType::f32 && type != ValueType::f64 &&
           type != ValueType::boolean;
}

Integer read_integer(ValueType type, const std::byte* at) noexcept {
    switch (type) {
        case ValueType::u8:
            return integer_at<std::uint8_t>(at);
        case ValueType::i8:
            return integer_at<std::int8_t>(at);
        case ValueType::u16:
            return integer_at<std::uint16_t>(at);
        case ValueType::i16:
            return integer_at<std::int16_t>(at);
        case ValueType::u32:
            return integer_at<std::uint32_t>(at);
        case ValueType::i32:
            return integer_at<std::int32_t>(at);
        case ValueType::u64:
            return integer_at<std::uint64_t>(at);
        default:
            return integer_at<std::int64_t>(at);
    }
}

bool is_number(ValueType type) noexcept {
    return type == ValueType::f32 || type == ValueType::f64 || is_integer(type);
}

double read_number(ValueType type, const std::byte* at) noexcept {
    if (type == ValueType::f32) return static_cast<double>(load<float>(at));
    if (type == ValueType::f64) return load<double>(at);
    const Integer value = read_integer(type, at);
    return value.negative ? static_cast<double>(static_cast<std::int64_t>(value.bits))
                          : static_cast<double>(value.bits);
}

// The reader has checked the lengths.
std::string_view string_at(const std::byte*& at) noexcept {
    const auto size = load<std::uint64_t>(at);
    const std::string_view text(reinterpret_cast<const char*>(at + sizeof(std::uint64_t)), size);
    at += sizeof(std::uint64_t) + size;
    return text;
}

std::string describe_type(const Value& value) {
    if (value.type() != ValueType::array) return to_string(value.type());
    return fmt::format("array of {} {}", value.size(), to_string(value.element_type()));
}

[[noreturn]] void mismatch(const Value& value, const std::string* origin, std::string_view wanted) {
    throw Error(ErrorCode::bad_file, fmt::format("{}key {} is of type {}, but {} is needed",
                                                 origin ? fmt::format("'{}': ", *origin) : std::string(),
                                                 quoted(value.key()), describe_type(value), wanted));
}

[[noreturn]] void out_of_range(const Value& value, const std::string* origin, std::string_view wanted) {
    throw Error(ErrorCode::bad_file, fmt::format("{}key {} holds {}, which does not fit {}",
                                                 origin ? fmt::format("'{}': ", *origin) : std::string(),
                                                 quoted(value.key()), value.to_text(), wanted));
}

std::string element_text(ValueType type, const std::byte*& at, bool quote) {
    if (type == ValueType::string) {
        const std::string_view text = string_at(at);
        return quote ? fmt::format("\"{}\"", escaped(text)) : escaped(text);
    }
    const std::byte* here = at;
    at += fixed_size(type);
    if (type == ValueType::boolean) return load<std::uint8_t>(here) ? "true" : "false";
    if (type == ValueType::f32) return fmt::format("{}", load<float>(here));
    if (type == ValueType::f64) return fmt::format("{}", load<double>(here));
    const Integer value = read_integer(type, here);
    return value.negative ? fmt::format("{}", static_cast<std::int64_t>(value.bits))
                          : fmt::format("{}", value.bits);
}

}  // namespace

const char* to_string(ValueType type) noexcept {
    switch (type) {
        case ValueType::u8:
            return "u8";
        case ValueType::i8:
            return "i8";
        case ValueType::u16:
            return "u16";
        case ValueType::i16:
            return "i16";
        case ValueType::u32:
            return "u32";
        case ValueType::i32:
            return "i32";
        case ValueType::f32:
            return "f32";
        case ValueType::boolean:
            return "bool";
        case ValueType::string:
            return "string";
        case ValueType::array:
            return "array";
        case ValueType::u64:
            return "u64";
        case ValueType::i64:
            return "i64";
        case ValueType::f64:
            return "f64";
    }
    return "unknown";
}

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\n')
            out += "\\n";
        else if (c == '\r')
            out += "\\r";
        else if (c == '\t')
            out += "\\t";
        else if (byte < 0x20 || byte == 0x7f)
            out += fmt::format("\\x{:02x}", byte);
        else
            out += c;
    }
    return out;
}

std::string quoted(std::string_view text) {
    constexpr std::size_t kLimit = 80;
    if (text.size() <= kLimit) return fmt::format("'{}'", escaped(text));
    return fmt::format("'{}...' ({} bytes)", escaped(text.substr(0, kLimit)), text.size());
}

std::uint64_t Value::as_u64() const {
    if (!is_integer(type_)) mismatch(*this, origin_, "an integer");
    const Integer value = read_integer(type_, bytes_.data());
    if (value.negative) out_of_range(*this, origin_, "an unsigned 64-bit integer");
    return value.bits;
}

std::int64_t Value::as_i64() const {
    if (!is_integer(type_)) mismatch(*this, origin_, "an integer");
    const Integer value = read_integer(type_, bytes_.data());
    if (!value.negative && value.bits > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
        out_of_range(*this, origin_, "a signed 64-bit integer");
    return static_cast<std::int64_t>(value.bits);
}

std::uint32_t Value::as_u32() const {
    if (!is_integer(type_)) mismatch(*this, origin_, "an integer");
    const Integer value = read_integer(type_, bytes_.data());
    if (value.negative || value.bits > std::numeric_limits<std::uint32_t>::max())
        out_of_range(*this, origin_, "an unsigned 32-bit integer");
    return static_cast<std::uint32_t>(value.bits);
}

double Value::as_float() const {
    if (!is_number(type_)) mismatch(*this, origin_, "a number");
    return read_number(type_, bytes_.data());
}

bool Value::as_bool() const {
    if (type_ != ValueType::boolean) mismatch(*this, origin_, "bool");
    return load<std::uint8_t>(bytes_.data()) != 0;
}

std::string_view Value::as_string() const {
    if (type_ != ValueType::string) mismatch(*this, origin_, "string");
    const std::byte* at = bytes_.data();
    return string_at(at);
}

std::vector<std::string_view> Value::as_strings() const {
    if (type_ != ValueType::array || element_ != ValueType::string)
        mismatch(*this, origin_, "an array of strings");
    std::vector<std::string_view> out;
    out.reserve(count_);
    const std::byte* at = bytes_.data();
    for (std::uint64_t i = 0; i < count_; ++i) out.push_back(string_at(at));
    return out;
}

std::vector<float> Value::as_floats() const {
    if (type_ != ValueType::array || !is_number(element_)) mismatch(*this, origin_, "an array of numbers");
    std::vector<float> out(count_);
    const std::size_t step = fixed_size(element_);
    for (std::uint64_t i = 0; i < count_; ++i)
        out[i] = static_cast<float>(read_number(element_, bytes_.data() + i * step));
    return out;
}

std::vector<std::int64_t> Value::as_integers() const {
    if (type_ != ValueType::array || !is_integer(element_)) mismatch(*this, origin_, "an array of integers");
    std::vector<std::int64_t> out(count_);
    const std::size_t step = fixed_size(element_);
    for (std::uint64_t i = 0; i < count_; ++i) {
        const Integer value = read_integer(element_, bytes_.data() + i * step);
        if (!value.negative && value.bits > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
            out_of_range(*this, origin_, "signed 64-bit integers");
        out[i] = static_cast<std::int64_t>(value.bits);
    }
    return out;
}

std::vector<bool> Value::as_bools() const {
    if (type_ != ValueType::array || element_ != ValueType::boolean)
        mismatch(*this, origin_, "an array of bool");
    std::vector<bool> out(count_);
    for (std::uint64_t i = 0; i < count_; ++i) out[i] = load<std::uint8_t>(bytes_.data() + i) != 0;
    return out;
}

std::string Value::to_text(std::size_t max_elements) const {
    if (bytes_.empty() && type_ != ValueType::array) return {};
    const std::byte* at = bytes_.data();
    if (type_ != ValueType::array) return element_text(type_, at, false);
    std::string out = "[";
    for (std::uint64_t i = 0; i < count_; ++i) {
        if (i > 0) out += ", ";
        if (i == max_elements) {
            out += fmt::format("... ({})", count_);
            break;
        }
        out += element_text(element_, at, true);
    }
    return out + "]";
}

}  // namespace tern::gguf
