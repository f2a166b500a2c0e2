// GGUF files: metadata, tensor directory and data. Reads versions 2 and 3, little-endian, in one file or
// split (NAME-00001-of-00003.gguf). Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
// Nothing in a file is trusted: every length, count, offset, type and product is checked before use, and a
// breach is a tern::Error (bad_file, or unsupported for version 1, big-endian files and unknown formats) that
// names the file, and the byte offset or the key or the tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tern/dtype.h>
#include <tern/export.h>

namespace tern::gguf {

// Ids as the specification numbers them.
enum class ValueType : std::uint32_t {
    u8 = 0,
    i8 = 1,
    u16 = 2,
    i16 = 3,
    u32 = 4,
    i32 = 5,
    f32 = 6,
    boolean = 7,
    string = 8,
    array = 9,
    u64 = 10,
    i64 = 11,
    f64 = 12,
};
TERN_API const char* to_string(ValueType type) noexcept;

// Limits. A file beyond one of them is refused (bad_file).
inline constexpr std::uint64_t kMaxKeys = 1u << 20;
inline constexpr std::uint64_t kMaxTensors = 1u << 20;
inline constexpr std::uint64_t kMaxKeyBytes = 65535;
inline constexpr std::uint64_t kMaxNameBytes = 64;  // the specification's limit on tensor names
inline constexpr std::uint64_t kMaxArrayElements = 1u << 28;
inline constexpr std::uint64_t kMaxSplits = 65535;
inline constexpr std::uint32_t kMaxRank = 4;
inline constexpr std::uint64_t kMaxAlignment = 1u << 20;

// One metadata entry. A view into its File, valid as long as the File. Cheap to copy.
class TERN_API Value {
public:
    ValueType type() const noexcept { return type_; }
    ValueType element_type() const noexcept { return element_; }  // of an array; otherwise type()
    std::uint64_t size() const noexcept { return count_; }        // elements of an array; otherwise 1
    std::string_view key() const noexcept { return key_; }

    // Conversions. Each throws Error(bad_file) naming the key, its type and the wanted type when the value is
    // of another kind or does not fit: integers convert between widths and signs when the value is in range;
    // as_float takes floats and integers; nothing else converts.
    std::uint64_t as_u64() const;
    std::int64_t as_i64() const;
    std::uint32_t as_u32() const;
    double as_float() const;
    bool as_bool() const;
    std::string_view as_string() const;

    // Arrays, likewise checked element by element.
    std::vector<std::string_view> as_strings() const;
    std::vector<float> as_floats() const;
    std::vector<std::int64_t> as_integers() const;
    std::vector<bool> as_bools() const;

    // For printing, on one line: arrays are cut after `max_elements` with "... (N)", control characters are
    // escaped (\n, \x1b). Strings are quoted inside arrays only.
    std::string to_text(std::size_t max_elements = 8) const;

private:
    friend class File;
    friend struct FileBuilder;
    friend class Writer;
    std::string_view key_;
    ValueType type_ = ValueType::u8;
    ValueType element_ = ValueType::u8;
    std::uint64_t count_ = 1;
    std::span<const std::byte> bytes_;     // the encoded payload (for arrays: the elements)
    const std::string* origin_ = nullptr;  // the file's name, for messages
};

struct Tensor {
    std::string_view name;
    DType dtype = DType::F32;
    std::uint32_t rank = 0;
    // GGUF order: shape[0] is the row length, contiguous in memory.
    std::uint64_t shape[kMaxRank] = {1, 1, 1, 1};
    std::uint64_t bytes = 0;
    std::uint64_t file_offset = 0;  // absolute, within its split
    std::uint32_t split = 0;        // which file of a split set, from 0
    const std::byte* data = nullptr;

    std::uint64_t elements() const noexcept { return shape[0] * shape[1] * shape[2] * shape[3]; }
    std::uint64_t rows() const noexcept { return shape[1] * shape[2] * shape[3]; }
};

struct OpenOptions {
    bool map = true;  // false: read the whole file into memory
    // false: the tensor data may be missing or cut off (metadata-only copies); Tensor::data is null
    // throughout.
    bool need_data = true;
};

// An open file (all splits of a set). Movable; immutable after opening, so reads from many threads are safe.
// A moved-from File may only be assigned to or destroyed.
//
// Beyond the specification's rules these are refused as bad_file: empty keys and tensor names, tensors of
// rank 0 or with a zero dimension, tensors that overlap, general.alignment other than a power of two from 8
// to kMaxAlignment (the specification asks for a multiple of 8). Bytes after the last tensor are allowed, and
// its padding may be missing. A mapped file must not be changed or truncated while it is open.
class TERN_API File {
public:
    // `path` may name any file of a split set; the others are found beside it, each by its name. The set
    // reads as one file: metadata is that of the first split without the split.* keys, tensors are those of
    // all splits. A missing split is Error(not_found), a split of another set Error(bad_file).
    static File open(const std::filesystem::path& path, const OpenOptions& options = {});
    // Parses bytes that the caller keeps alive and unchanged. `name` is used in messages. Tensor data is
    // aligned in memory only as far as the begin of `bytes` is. One file of a split set is
    // Error(unsupported).
    static File parse(std::span<const std::byte> bytes, std::string name, const OpenOptions& options = {});

    File(File&&) noexcept;
    File& operator=(File&&) noexcept;
    ~File();

    std::uint32_t version() const noexcept;
    std::uint64_t alignment() const noexcept;
    const std::string& name() const noexcept;    // of the first split
    std::uint64_t total_bytes() const noexcept;  // of all splits
    std::uint32_t splits() const noexcept;

    std::span<const Value> metadata() const noexcept;  // file order
    std::span<const Tensor> tensors() const noexcept;  // file order, splits in order

    const Value* find(std::string_view key) const noexcept;           // null when absent
    const Tensor* find_tensor(std::string_view name) const noexcept;  // null when absent
    const Value& get(std::string_view key) const;           // Error(bad_file) naming the key when absent
    const Tensor& get_tensor(std::string_view name) const;  // Error(bad_file) naming the tensor when absent

    // Typed access with a default for an absent key; a key of another type is still an error.
    std::uint64_t u64_or(std::string_view key, std::uint64_t fallback) const;
    double float_or(std::string_view key, double fallback) const;
    bool bool_or(std::string_view key, bool fallback) const;
    std::string string_or(std::string_view key, std::string_view fallback) const;

private:
    friend struct FileBuilder;
    struct Impl;
    explicit File(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// Writes GGUF version 3. Metadata and the tensor directory are collected first; write() then streams the
// tensors. Not thread safe. Duplicate keys or names, a rank, shape or name outside the limits:
// Error(invalid_argument). Entries keep their order; equal calls give equal bytes.
class TERN_API Writer {
public:
    // A power of two from 8 to kMaxAlignment. Where it is not 32, general.alignment is written first, unless
    // add() puts it elsewhere; adding that key with another value is an error.
    explicit Writer(std::uint64_t alignment = 32);
    ~Writer();
    Writer(Writer&&) noexcept;
    Writer& operator=(Writer&&) noexcept;

    void add_u32(std::string_view key, std::uint32_t value);
    void add_u64(std::string_view key, std::uint64_t value);
    void add_i32(std::string_view key, std::int32_t value);
    void add_f32(std::string_view key, float value);
    void add_bool(std::string_view key, bool value);
    void add_string(std::string_view key, std::string_view value);
    void add_strings(std::string_view key, std::span<const std::string> values);
    void add_f32s(std::string_view key, std::span<const float> values);
    void add_i32s(std::string_view key, std::span<const std::int32_t> values);
    void add(const Value& value);  // a copy of another file's entry

    // Name and shape are copied; `data` must stay alive until write() or to_bytes() and hold exactly the
    // bytes of the shape. shape[0] is the row length.
    void add_tensor(std::string_view name, DType dtype, std::span<const std::uint64_t> shape,
                    std::span<const std::byte> data);

    // Writes beside the target and renames, so that a failure leaves no half file. Error(io) names the path.
    void write(const std::filesystem::path& path) const;
    std::vector<std::byte> to_bytes() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace tern::gguf
