#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>
#include <system_error>
#include <utility>

#include "base/checked.h"
#include "gguf/cursor.h"
#include "gguf/file_impl.h"

namespace tern::gguf {
namespace {

[[noreturn]] void refuse(const std::string& message) {
    throw Error(ErrorCode::invalid_argument, message);
}

class Buffer {
public:
    template <class T>
    void put(T value) {
        static_assert(std::is_trivially_copyable_v<T>);
        append(std::as_bytes(std::span(&value, 1)));
    }
    void append(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
    void put_string(std::string_view text) {
        put<std::uint64_t>(text.size());
        append(std::as_bytes(std::span(text)));
    }
    void pad(std::uint64_t alignment) {
        const std::uint64_t rest = bytes_.size() % alignment;
        if (rest != 0) bytes_.resize(bytes_.size() + (alignment - rest));
    }
    std::size_t size() const noexcept { return bytes_.size(); }
    std::vector<std::byte> take() && { return std::move(bytes_); }

private:
    std::vector<std::byte> bytes_;
};

template <class T>
std::vector<std::byte> encode(T value) {
    Buffer buffer;
    buffer.put(value);
    return std::move(buffer).take();
}

// A file under a name of its own beside the target; removed unless it was renamed.
class PendingFile {
public:
    explicit PendingFile(const std::filesystem::path& target) : target_(target) {
        struct stat st {};
        if (::stat(target.c_str(), &st) == 0 && !S_ISREG(st.st_mode))
            throw Error(ErrorCode::io, fmt::format("cannot write '{}': it exists and is not a regular file",
                                                   target.string()));
        // A name in use belongs to another writer or was left by one that was killed.
        constexpr int kAttempts = 100;
        for (int i = 0; i < kAttempts; ++i) {
            path_ = target;
            path_ += fmt::format(".part{}", i);
            fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
            if (fd_ >= 0) return;
            if (errno != EEXIST) break;
        }
        fail("create", errno);
    }
    PendingFile(const PendingFile&) = delete;
    PendingFile& operator=(const PendingFile&) = delete;
    ~PendingFile() {
        if (fd_ >= 0) ::close(fd_);
        if (!renamed_) ::unlink(path_.c_str());
    }

    void write(std::span<const std::byte> bytes) {
        constexpr std::size_t kChunk = std::size_t{1}
                                       << 30;  // the system call takes no more than 2 GiB at once
        while (!bytes.empty()) {
            const ssize_t n = ::write(fd_, bytes.data(), std::min(bytes.size(), kChunk));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) fail("write", errno);
            bytes = bytes.subspan(static_cast<std::size_t>(n));
        }
    }

    void commit() {
        const int fd = std::exchange(fd_, -1);
        if (::close(fd) != 0) fail("write", errno);
        if (::rename(path_.c_str(), target_.c_str()) != 0) fail("rename", errno);
        renamed_ = true;
    }

private:
    [[noreturn]] void fail(const char* verb, int error) const {
        throw Error(ErrorCode::io, fmt::format("cannot {} '{}' (for '{}'): {}", verb, path_.string(),
                                               target_.string(), std::generic_category().message(error)));
    }

    std::filesystem::path target_;
    std::filesystem::path path_;
    int fd_ = -1;
    bool renamed_ = false;
};

}  // namespace

struct Writer::Impl {
    struct Entry {
        std::string key;
        ValueType type;
        std::vector<std::byte> payload;  // what follows the type in the file
    };
    struct Item {
        std::string name;
        DType dtype;
        std::vector<std::uint64_t> shape;
        std::span<const std::byte> data;
    };

    std::uint64_t alignment = kDefaultAlignment;
    std::vector<Entry> entries;
    std::vector<Item> items;
    std::set<std::string, std::less<>> keys;
    std::set<std::string, std::less<>> names;

    void add(std::string_view key, ValueType type, std::vector<std::byte> payload) {
        if (key.empty() || key.size() > kMaxKeyBytes)
            refuse(fmt::format("key {} has {} bytes, 1 to {} are possible", quoted(key), key.size(),
                               kMaxKeyBytes));
        if (entries.size() >= kMaxKeys)
            refuse(fmt::format("key {} is one beyond the {} keys that are possible", quoted(key), kMaxKeys));
        if (key == kAlignmentKey &&
            (type != ValueType::u32 || load<std::uint32_t>(payload.data()) != alignment))
            refuse(fmt::format("key '{}' must be the u32 {} that the writer was made with", kAlignmentKey,
                               alignment));
        if (!keys.emplace(key).second) refuse(fmt::format("key {} was added before", quoted(key)));
        entries.push_back({std::string(key), type, std::move(payload)});
    }

    template <class T>
    void add_array(std::string_view key, ValueType element, std::span<const T> values) {
        Buffer buffer;
        array_header(buffer, key, element, values.size());
        buffer.append(std::as_bytes(values));
        add(key, ValueType::array, std::move(buffer).take());
    }

    static void array_header(Buffer& buffer, std::string_view key, ValueType element, std::uint64_t count) {
        if (count > kMaxArrayElements)
            refuse(fmt::format("the array of key {} has {} elements, the limit is {}", quoted(key), count,
                               kMaxArrayElements));
        buffer.put(static_cast<std::uint32_t>(element));
        buffer.put(count);
    }

    // Everything before the tensor data, padded.
    std::vector<std::byte> header() const {
        Buffer out;
        const bool add_alignment = alignment != kDefaultAlignment && !keys.contains(kAlignmentKey);
        out.append(std::as_bytes(std::span(std::string_view("GGUF"))));
        out.put<std::uint32_t>(3);
        out.put<std::uint64_t>(items.size());
        out.put<std::uint64_t>(entries.size() + (add_alignment ? 1 : 0));
        if (add_alignment) {
            out.put_string(kAlignmentKey);
            out.put(static_cast<std::uint32_t>(ValueType::u32));
            out.put(static_cast<std::uint32_t>(alignment));
        }
        for (const Entry& e : entries) {
            out.put_string(e.key);
            out.put(static_cast<std::uint32_t>(e.type));
            out.append(e.payload);
        }
        std::uint64_t offset = 0;
        for (const Item& t : items) {
            out.put_string(t.name);
            out.put(static_cast<std::uint32_t>(t.shape.size()));
            for (const std::uint64_t d : t.shape) out.put(d);
            out.put(static_cast<std::uint32_t>(t.dtype));
            out.put(offset);
            if (!base::checked_add<std::uint64_t>(offset, t.data.size(), offset) ||
                !base::checked_align_up(offset, alignment, offset))
                refuse("the tensors together are larger than a file can be");
        }
        out.pad(alignment);
        return std::move(out).take();
    }

    // Gives the file piece by piece to `sink(std::span<const std::byte>)`.
    template <class Sink>
    void stream(Sink sink) const {
        sink(std::span<const std::byte>(header()));
        const std::vector<std::byte> zeros(alignment);
        for (const Item& t : items) {
            sink(t.data);
            const std::uint64_t rest = t.data.size() % alignment;
            if (rest != 0) sink(std::span(zeros).first(alignment - rest));
        }
    }
};

Writer::Writer(std::uint64_t alignment) : impl_(std::make_unique<Impl>()) {
    if (!is_valid_alignment(alignment))
        refuse(fmt::format("the alignment is {}, but a power of two from {} to {} is needed", alignment,
                           kMinAlignment, kMaxAlignment));
    impl_->alignment = alignment;
}
Writer::~Writer() = default;
Writer::Writer(Writer&&) noexcept = default;
Writer& Writer::operator=(Writer&&) noexcept = default;

void Writer::add_u32(std::string_view key, std::uint32_t value) {
    impl_->add(key, ValueType::u32, encode(value));
}
void Writer::add_u64(std::string_view key, std::uint64_t value) {
    impl_->add(key, ValueType::u64, encode(value));
}
void Writer::add_i32(std::string_view key, std::int32_t value) {
    impl_->add(key, ValueType::i32, encode(value));
}
void Writer::add_f32(std::string_view key, float value) {
    impl_->add(key, ValueType::f32, encode(value));
}
void Writer::add_bool(std::string_view key, bool value) {
    impl_->add(key, ValueType::boolean, encode(static_cast<std::uint8_t>(value ? 1 : 0)));
}

void Writer::add_string(std::string_view key, std::string_view value) {
    Buffer buffer;
    buffer.put_string(value);
    impl_->add(key, ValueType::string, std::move(buffer).take());
}

void Writer::add_strings(std::string_view key, std::span<const std::string> values) {
    Buffer buffer;
    Impl::array_header(buffer, key, ValueType::string, values.size());
    for (const std::string& value : values) buffer.put_string(value);
    impl_->add(key, ValueType::array, std::move(buffer).take());
}

void Writer::add_f32s(std::string_view key, std::span<const float> values) {
    impl_->add_array(key, ValueType::f32, values);
}

void Writer::add_i32s(std::string_view key, std::span<const std::int32_t> values) {
    impl_->add_array(key, ValueType::i32, values);
}

void Writer::add(const Value& value) {
    Buffer buffer;
    if (value.type() == ValueType::array)
        Impl::array_header(buffer, value.key(), value.element_type(), value.size());
    buffer.append(value.bytes_);
    impl_->add(value.key(), value.type(), std::move(buffer).take());
}

void Writer::add_tensor(std::string_view name, DType dtype, std::span<const std::uint64_t> shape,
                        std::span<const std::byte> data) {
    const std::string who = "tensor " + quoted(name);
    if (name.empty() || name.size() > kMaxNameBytes)
        refuse(fmt::format("the name of {} has {} bytes, 1 to {} are possible", who, name.size(),
                           kMaxNameBytes));
    if (impl_->items.size() >= kMaxTensors)
        refuse(fmt::format("{} is one beyond the {} tensors that are possible", who, kMaxTensors));
    if (shape.empty() || shape.size() > kMaxRank)
        refuse(fmt::format("{} has {} dimensions, 1 to {} are possible", who, shape.size(), kMaxRank));
    if (!dtype_from_id(static_cast<std::uint32_t>(dtype)))
        refuse(fmt::format("{} has the unknown format id {}", who, static_cast<std::uint32_t>(dtype)));
    std::uint64_t elements = 1;
    for (const std::uint64_t d : shape)
        if (d == 0 || !base::checked_mul(elements, d, elements) || elements > kMaxCount)
            refuse(fmt::format("the dimensions of {} are zero or overflow", who));
    const DTypeInfo& format = info(dtype);
    if (shape[0] % format.block != 0)
        refuse(fmt::format("{} has rows of {} elements, no multiple of the {} elements of a {} block", who,
                           shape[0], format.block, format.name));
    std::uint64_t bytes = 0;
    if (!base::checked_mul<std::uint64_t>(elements / format.block, format.block_bytes, bytes) ||
        bytes != data.size())
        refuse(fmt::format("{} of {} elements in {} needs {} bytes, but {} were given", who, elements,
                           format.name, bytes, data.size()));
    if (!impl_->names.emplace(name).second) refuse(fmt::format("{} was added before", who));
    impl_->items.push_back({std::string(name), dtype, {shape.begin(), shape.end()}, data});
}

void Writer::write(const std::filesystem::path& path) const {
    PendingFile file(path);
    impl_->stream([&](std::span<const std::byte> bytes) { file.write(bytes); });
    file.commit();
}

std::vector<std::byte> Writer::to_bytes() const {
    Buffer out;
    impl_->stream([&](std::span<const std::byte> bytes) { out.append(bytes); });
    return std::move(out).take();
}

}  // namespace tern::gguf
