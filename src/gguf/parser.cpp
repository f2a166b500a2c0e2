// One GGUF file's header, metadata and tensor directory. Layout: the GGUF specification, version 3 (version 2
// differs from it only in that it has no big-endian form).
#include <algorithm>
#include <limits>
#include <new>
#include <numeric>

#include "base/checked.h"
#include "gguf/cursor.h"
#include "gguf/file_impl.h"

namespace tern::gguf {
namespace {

// The least a key or a tensor can take: counts are checked against the file's size with them before any
// allocation.
constexpr std::uint64_t kMinKeyBytes = 8 + 1 + 4 + 1;  // length, one byte, type, one byte
constexpr std::uint64_t kMinTensorBytes =
    8 + 1 + 4 + 8 + 4 + 8;  // length, one byte, rank, one dimension, type, offset

constexpr std::uint32_t kLastValueType = static_cast<std::uint32_t>(ValueType::f64);

}  // namespace

class FileBuilder::Parser {
public:
    Parser(Part& part, bool need_data) : part_(part), need_data_(need_data), cursor_(part.bytes, part.name) {}

    void run() {
        const Counts counts = header();
        metadata(counts.keys);
        alignment();
        directory(counts.tensors);
        data();
    }

private:
    struct Counts {
        std::uint64_t tensors;
        std::uint64_t keys;
    };

    Counts header() {
        const std::string_view magic = "GGUF";
        if (part_.bytes.size() < magic.size() ||
            std::memcmp(part_.bytes.data(), magic.data(), magic.size()) != 0)
            cursor_.fail(0, describe_foreign(part_.bytes));
        cursor_.skip(magic.size(), "the magic");

        const std::uint64_t at = cursor_.offset();
        part_.version = cursor_.read<std::uint32_t>("the version");
        switch (part_.version) {
            case 2:
            case 3:
                break;
            case 0:
                cursor_.fail(at, "GGUF version 0 does not exist; the file is damaged");
            case 1:
                cursor_.fail(at, "GGUF version 1 is not supported (2 and 3 are); convert the model again",
                             ErrorCode::unsupported);
            default:
                if ((part_.version & 0xffff) == 0)
                    cursor_.fail(
                        at,
                        fmt::format("big-endian GGUF (version {}) is not supported; get a little-endian file",
                                    __builtin_bswap32(part_.version)),
                        ErrorCode::unsupported);
                cursor_.fail(at, fmt::format("GGUF version {} is not supported (2 and 3 are)", part_.version),
                             ErrorCode::unsupported);
        }

        const std::uint64_t tensors_at = cursor_.offset();
        const auto tensors = cursor_.read<std::uint64_t>("the tensor count");
        const std::uint64_t keys_at = cursor_.offset();
        const auto keys = cursor_.read<std::uint64_t>("the metadata key count");
        check_count(tensors_at, "tensors", tensors, kMaxTensors, kMinTensorBytes);
        check_count(keys_at, "metadata keys", keys, kMaxKeys, kMinKeyBytes);
        return {tensors, keys};
    }

    void check_count(std::uint64_t at, std::string_view what, std::uint64_t count, std::uint64_t limit,
                     std::uint64_t least_bytes) const {
        if (count > limit)
            cursor_.fail(at, fmt::format("{} {} are claimed, the limit is {}", count, what, limit));
        if (count > cursor_.remaining() / least_bytes)
            cursor_.fail(at, fmt::format("{} {} are claimed, but the file has only {} bytes left for them",
                                         count, what, cursor_.remaining()));
    }

    void metadata(std::uint64_t count) {
        part_.metadata.reserve(count);
        for (std::uint64_t i = 0; i < count; ++i) {
            const std::uint64_t at = cursor_.offset();
            Value v;
            v.origin_ = &part_.name;
            v.key_ = cursor_.read_string(kMaxKeyBytes, fmt::format("the name of metadata key {}", i));
            if (v.key_.empty()) cursor_.fail(at, fmt::format("the name of metadata key {} is empty", i));
            v.type_ = v.element_ = value_type(v.key_, "type");
            if (v.type_ == ValueType::array)
                array(v);
            else
                v.bytes_ = payload(v, 1);
            part_.metadata.push_back(v);
        }
        if (const Value* v = find_duplicate(part_.metadata, sorted_index(part_.metadata, key_of), key_of))
            cursor_.fail(static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(v->key_.data()) -
                                                    part_.bytes.data()),
                         fmt::format("key {} occurs twice", quoted(v->key_)));
    }

    ValueType value_type(std::string_view key, std::string_view what) {
        const std::uint64_t at = cursor_.offset();
        const auto id = cursor_.read<std::uint32_t>(fmt::format("the {} of key {}", what, quoted(key)));
        if (id > kLastValueType)
            cursor_.fail(at, fmt::format("key {} has the unknown {} {}", quoted(key), what,
                                         static_cast<std::int32_t>(id)));
        return static_cast<ValueType>(id);
    }

    void array(Value& v) {
        const std::uint64_t type_at = cursor_.offset();
        v.element_ = value_type(v.key_, "element type");
        if (v.element_ == ValueType::array)
            cursor_.fail(type_at,
                         fmt::format("key {} is an array of arrays, which is not supported", quoted(v.key_)));
        const std::uint64_t at = cursor_.offset();
        v.count_ = cursor_.read<std::uint64_t>(fmt::format("the array length of key {}", quoted(v.key_)));
        if (v.count_ > kMaxArrayElements)
            cursor_.fail(at, fmt::format("key {} claims an array of {} elements, the limit is {}",
                                         quoted(v.key_), v.count_, kMaxArrayElements));
        // A string takes at least its length.
        const std::uint64_t least = std::max<std::uint64_t>(fixed_size(v.element_), 1) *
                                    (v.element_ == ValueType::string ? sizeof(std::uint64_t) : 1);
        if (v.count_ > cursor_.remaining() / least)
            cursor_.fail(
                at, fmt::format("key {} claims an array of {} elements, but the file ends after {} bytes",
                                quoted(v.key_), v.count_, cursor_.remaining()));
        v.bytes_ = payload(v, v.count_);
    }

    // `count` values of the element type; the caller has bounded `count` by the file's size.
    std::span<const std::byte> payload(const Value& v, std::uint64_t count) {
        const std::byte* begin = cursor_.here();
        if (v.element_ == ValueType::string) {
            const std::string what = fmt::format("a string of key {}", quoted(v.key_));
            for (std::uint64_t i = 0; i < count; ++i)
                cursor_.read_string(std::numeric_limits<std::uint64_t>::max(), what);
            return {begin, cursor_.here()};
        }
        const std::uint64_t at = cursor_.offset();
        cursor_.skip(count * fixed_size(v.element_), fmt::format("the value of key {}", quoted(v.key_)));
        const std::span<const std::byte> bytes(begin, cursor_.here());
        if (v.element_ == ValueType::boolean) {
            const auto bad =
                std::find_if(bytes.begin(), bytes.end(), [](std::byte b) { return b > std::byte{1}; });
            if (bad != bytes.end())
                cursor_.fail(at + static_cast<std::uint64_t>(bad - bytes.begin()),
                             fmt::format("key {} holds a bool of value {}, which is neither 0 nor 1",
                                         quoted(v.key_), static_cast<unsigned>(*bad)));
        }
        return bytes;
    }

    void alignment() {
        const Value* v = part_.find(kAlignmentKey);
        if (!v) return;
        const auto at = static_cast<std::uint64_t>(v->bytes_.data() - part_.bytes.data());
        if (v->type_ != ValueType::u32)
            cursor_.fail(at, fmt::format("key '{}' is of type {}, but u32 is needed", kAlignmentKey,
                                         to_string(v->type_)));
        part_.alignment = load<std::uint32_t>(v->bytes_.data());
        if (!is_valid_alignment(part_.alignment))
            cursor_.fail(at, fmt::format("key '{}' is {}, but a power of two from {} to {} is needed",
                                         kAlignmentKey, part_.alignment, kMinAlignment, kMaxAlignment));
    }

    void directory(std::uint64_t count) {
        part_.tensors.reserve(count);
        for (std::uint64_t i = 0; i < count; ++i) part_.tensors.push_back(tensor(i));
    }

    // file_offset is relative to the data section until data() has run.
    Tensor tensor(std::uint64_t index) {
        Tensor t;
        const std::uint64_t name_at = cursor_.offset();
        t.name = cursor_.read_string(kMaxNameBytes, fmt::format("the name of tensor {}", index));
        if (t.name.empty()) cursor_.fail(name_at, fmt::format("the name of tensor {} is empty", index));
        const std::string who = "tensor " + quoted(t.name);

        const std::uint64_t rank_at = cursor_.offset();
        t.rank = cursor_.read<std::uint32_t>("the rank of " + who);
        if (t.rank == 0 || t.rank > kMaxRank)
            cursor_.fail(rank_at,
                         fmt::format("{} has {} dimensions, 1 to {} are possible", who, t.rank, kMaxRank));

        std::uint64_t elements = 1;
        for (std::uint32_t d = 0; d < t.rank; ++d) {
            const std::uint64_t at = cursor_.offset();
            t.shape[d] = cursor_.read<std::uint64_t>(fmt::format("dimension {} of {}", d, who));
            if (t.shape[d] == 0) cursor_.fail(at, fmt::format("dimension {} of {} is zero", d, who));
            if (!base::checked_mul(elements, t.shape[d], elements) || elements > kMaxCount)
                cursor_.fail(at, fmt::format("the dimensions of {} overflow at dimension {} = {}", who, d,
                                             t.shape[d]));
        }

        const std::uint64_t type_at = cursor_.offset();
        const auto id = cursor_.read<std::uint32_t>("the format of " + who);
        if (id > static_cast<std::uint32_t>(std::numeric_limits<std::int32_t>::max()))
            cursor_.fail(type_at,
                         fmt::format("{} has the negative format id {}", who, static_cast<std::int32_t>(id)));
        const std::optional<DType> dtype = dtype_from_id(id);
        if (!dtype)
            cursor_.fail(type_at, fmt::format("{} has {}", who, describe_unknown_format(id)),
                         ErrorCode::unsupported);
        t.dtype = *dtype;

        const DTypeInfo& format = info(t.dtype);
        if (t.shape[0] % format.block != 0)
            cursor_.fail(
                type_at,
                fmt::format("{} has rows of {} elements, no multiple of the {} elements of a {} block", who,
                            t.shape[0], format.block, format.name));
        if (!base::checked_mul<std::uint64_t>(elements / format.block, format.block_bytes, t.bytes) ||
            t.bytes > kMaxCount)
            cursor_.fail(type_at, fmt::format("the size of {} overflows ({} elements of {})", who, elements,
                                              format.name));

        const std::uint64_t at = cursor_.offset();
        t.file_offset = cursor_.read<std::uint64_t>("the data offset of " + who);
        if (t.file_offset % part_.alignment != 0)
            cursor_.fail(at, fmt::format("the data offset {} of {} is no multiple of the alignment {}",
                                         t.file_offset, who, part_.alignment));
        return t;
    }

    void data() {
        if (part_.tensors.empty()) return;
        std::uint64_t begin = 0;
        const std::uint64_t file_size = part_.bytes.size();
        if (!base::checked_align_up(cursor_.offset(), part_.alignment, begin))
            cursor_.fail(cursor_.offset(), "the begin of the tensor data overflows");
        for (Tensor& t : part_.tensors) {
            const std::uint64_t offset = t.file_offset;
            std::uint64_t end = 0;
            if (!base::checked_add(begin, offset, t.file_offset) ||
                !base::checked_add(t.file_offset, t.bytes, end))
                cursor_.fail(cursor_.offset(), fmt::format("the data offset {} of tensor {} overflows",
                                                           offset, quoted(t.name)));
            if (!need_data_) continue;
            if (end > file_size)
                cursor_.fail(
                    t.file_offset,
                    fmt::format(
                        "the {} bytes of tensor {} end at {}, but the file has {} bytes; it is cut off "
                        "or damaged, copy or download it again",
                        t.bytes, quoted(t.name), end, file_size));
            t.data = part_.bytes.data() + t.file_offset;
        }
        check_overlap();
    }

    void check_overlap() const {
        Index order(part_.tensors.size());
        std::iota(order.begin(), order.end(), 0u);
        std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
            return part_.tensors[a].file_offset < part_.tensors[b].file_offset;
        });
        for (std::size_t i = 1; i < order.size(); ++i) {
            const Tensor& before = part_.tensors[order[i - 1]];
            const Tensor& t = part_.tensors[order[i]];
            if (t.file_offset - before.file_offset < before.bytes)
                cursor_.fail(t.file_offset, fmt::format("the data of tensors {} and {} overlap",
                                                        quoted(before.name), quoted(t.name)));
        }
    }

    Part& part_;
    bool need_data_;
    Cursor cursor_;
};

void FileBuilder::parse(Part& part, bool need_data) {
    try {
        Parser(part, need_data).run();
    } catch (const std::bad_alloc&) {
        throw Error(ErrorCode::out_of_memory,
                    fmt::format("'{}': not enough memory for its directory", part.name));
    }
}

}  // namespace tern::gguf
