#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "gguf/cursor.h"
#include "gguf/file_impl.h"

namespace tern::gguf {
namespace {

constexpr std::string_view kSplitNumber = "split.no";
constexpr std::string_view kSplitCount = "split.count";
constexpr std::string_view kSplitTensors = "split.tensors.count";
constexpr std::string_view kSplitPrefix = "split.";
constexpr std::string_view kArchitecture = "general.architecture";

// Where each of a set's files lies: NAME-00001-of-00003.gguf.
std::string split_suffix(std::uint64_t number, std::uint64_t count) {
    return fmt::format("-{:05}-of-{:05}.gguf", number + 1, count);
}

template <class Item, class Text>
const Item* lookup(const std::vector<Item>& items, const Index& index, Text text, std::string_view wanted) {
    const auto at = std::lower_bound(index.begin(), index.end(), wanted,
                                     [&](std::uint32_t i, std::string_view w) { return text(items[i]) < w; });
    return at != index.end() && text(items[*at]) == wanted ? &items[*at] : nullptr;
}

std::uint64_t integer_or(const Part& part, std::string_view key, std::uint64_t fallback) {
    const Value* v = part.find(key);
    return v ? v->as_u64() : fallback;
}

}  // namespace

bool is_valid_alignment(std::uint64_t alignment) noexcept {
    return std::has_single_bit(alignment) && alignment >= kMinAlignment && alignment <= kMaxAlignment;
}

const Value* Part::find(std::string_view key) const noexcept {
    for (const Value& v : metadata)
        if (v.key() == key) return &v;
    return nullptr;
}

std::unique_ptr<Part> FileBuilder::open_part(const std::filesystem::path& path, const OpenOptions& options) {
    auto part = std::make_unique<Part>();
    part->name = path.string();
    part->file = options.map ? base::MappedFile::map(path) : base::MappedFile::read(path);
    part->bytes = part->file.bytes();
    parse(*part, options.need_data);
    return part;
}

File FileBuilder::join(std::vector<std::unique_ptr<Part>> parts) {
    auto impl = std::make_unique<File::Impl>();
    impl->parts = std::move(parts);
    const bool split = impl->parts.size() > 1;
    const Part& first = *impl->parts.front();
    for (const Value& v : first.metadata)
        if (!split || !v.key().starts_with(kSplitPrefix)) impl->metadata.push_back(v);
    for (std::uint32_t i = 0; i < impl->parts.size(); ++i) {
        for (Tensor& t : impl->parts[i]->tensors) {
            t.split = i;
            impl->tensors.push_back(t);
        }
        impl->parts[i]->tensors.clear();
        impl->parts[i]->tensors.shrink_to_fit();
    }
    if (impl->tensors.size() > kMaxTensors)
        throw Error(ErrorCode::bad_file, fmt::format("'{}': the set has {} tensors, the limit is {}",
                                                     first.name, impl->tensors.size(), kMaxTensors));

    impl->keys = sorted_index(impl->metadata, key_of);  // unique: the parser has checked
    impl->names = sorted_index(impl->tensors, name_of);
    if (const Tensor* t = find_duplicate(impl->tensors, impl->names, name_of))
        throw Error(ErrorCode::bad_file, fmt::format("'{}': tensor {} occurs twice",
                                                     impl->parts[t->split]->name, quoted(t->name)));
    return File(std::move(impl));
}

File FileBuilder::open_split(std::unique_ptr<Part> named, const std::filesystem::path& path,
                             const OpenOptions& options) {
    const std::uint64_t count = integer_or(*named, kSplitCount, 1);
    if (count > kMaxSplits)
        throw Error(ErrorCode::bad_file, fmt::format("'{}': key '{}' is {}, the limit is {}", named->name,
                                                     kSplitCount, count, kMaxSplits));
    if (!named->find(kSplitNumber))
        throw Error(ErrorCode::bad_file, fmt::format("'{}': key '{}' is {}, but key '{}' is absent",
                                                     named->name, kSplitCount, count, kSplitNumber));
    const std::uint64_t number = integer_or(*named, kSplitNumber, 0);
    if (number >= count)
        throw Error(ErrorCode::bad_file,
                    fmt::format("'{}': key '{}' is {}, but there are {} files (key '{}')", named->name,
                                kSplitNumber, number, count, kSplitCount));
    const std::string file_name = path.filename().string();
    const std::string suffix = split_suffix(number, count);
    if (!file_name.ends_with(suffix))
        throw Error(
            ErrorCode::bad_file,
            fmt::format(
                "'{}': this is file {} of a set of {}, but its name does not end in '{}', so that the "
                "others cannot be found; give the files their names back",
                named->name, number + 1, count, suffix));
    const std::string stem = file_name.substr(0, file_name.size() - suffix.size());
    const std::uint64_t all_tensors = integer_or(*named, kSplitTensors, 0);
    const bool has_total = named->find(kSplitTensors) != nullptr;

    // The first file that has one says it for all; usually only file 1 does. Lives as long as its Part.
    const Value* architecture = named->find(kArchitecture);
    std::vector<std::unique_ptr<Part>> parts;
    std::uint64_t tensors = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        if (i == number) {
            tensors += named->tensors.size();  // NOLINT(bugprone-use-after-move): i is `number` once
            parts.push_back(std::move(named));
            continue;
        }
        const std::filesystem::path other = path.parent_path() / (stem + split_suffix(i, count));
        try {
            parts.push_back(open_part(other, options));
        } catch (const Error& e) {
            if (e.code() != ErrorCode::not_found) throw;
            throw Error(
                ErrorCode::not_found,
                fmt::format(
                    "'{}' is file {} of a set of {}, but '{}' is missing; put all files of the set into "
                    "one folder",
                    path.string(), number + 1, count, other.string()));
        }
        const Part& part = *parts.back();
        const auto foreign = [&](std::string_view key, const auto& is, const auto& wanted) {
            throw Error(ErrorCode::bad_file,
                        fmt::format("'{}' does not belong to the set of '{}': its key '{}' is {} "
                                    "instead of {}",
                                    part.name, path.string(), key, is, wanted));
        };
        if (const std::uint64_t n = integer_or(part, kSplitCount, 1); n != count)
            foreign(kSplitCount, n, count);
        if (const std::uint64_t n = integer_or(part, kSplitNumber, 0); n != i) foreign(kSplitNumber, n, i);
        if (part.find(kSplitTensors) && has_total)
            if (const std::uint64_t n = integer_or(part, kSplitTensors, 0); n != all_tensors)
                foreign(kSplitTensors, n, all_tensors);
        const Value* theirs = part.find(kArchitecture);
        if (theirs && architecture && theirs->to_text() != architecture->to_text())
            foreign(kArchitecture, theirs->to_text(), architecture->to_text());
        if (!architecture) architecture = theirs;
        tensors += part.tensors.size();
    }
    if (has_total && tensors != all_tensors)
        throw Error(ErrorCode::bad_file,
                    fmt::format("'{}': the files of its set hold {} tensors, but key '{}' says {}",
                                path.string(), tensors, kSplitTensors, all_tensors));
    return join(std::move(parts));
}

File File::open(const std::filesystem::path& path, const OpenOptions& options) {
    std::unique_ptr<Part> part = FileBuilder::open_part(path, options);
    if (integer_or(*part, kSplitCount, 1) > 1) return FileBuilder::open_split(std::move(part), path, options);
    std::vector<std::unique_ptr<Part>> parts;
    parts.push_back(std::move(part));
    return FileBuilder::join(std::move(parts));
}

File File::parse(std::span<const std::byte> bytes, std::string name, const OpenOptions& options) {
    auto part = std::make_unique<Part>();
    part->name = std::move(name);
    part->bytes = bytes;
    FileBuilder::parse(*part, options.need_data);
    if (const std::uint64_t count = integer_or(*part, kSplitCount, 1); count > 1)
        throw Error(ErrorCode::unsupported,
                    fmt::format("'{}' is one of {} files of a split model (key '{}'); open it "
                                "by its path, so that the others can be found",
                                part->name, count, kSplitCount));
    std::vector<std::unique_ptr<Part>> parts;
    parts.push_back(std::move(part));
    return FileBuilder::join(std::move(parts));
}

File::File(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
File::File(File&&) noexcept = default;
File& File::operator=(File&&) noexcept = default;
File::~File() = default;

std::uint32_t File::version() const noexcept {
    return impl_->parts.front()->version;
}
std::uint64_t File::alignment() const noexcept {
    return impl_->parts.front()->alignment;
}
const std::string& File::name() const noexcept {
    return impl_->parts.front()->name;
}
std::uint32_t File::splits() const noexcept {
    return static_cast<std::uint32_t>(impl_->parts.size());
}

std::uint64_t File::total_bytes() const noexcept {
    std::uint64_t total = 0;
    for (const auto& part : impl_->parts) total += part->bytes.size();
    return total;
}

std::span<const Value> File::metadata() const noexcept {
    return impl_->metadata;
}
std::span<const Tensor> File::tensors() const noexcept {
    return impl_->tensors;
}

const Value* File::find(std::string_view key) const noexcept {
    return lookup(impl_->metadata, impl_->keys, key_of, key);
}

const Tensor* File::find_tensor(std::string_view tensor) const noexcept {
    return lookup(impl_->tensors, impl_->names, name_of, tensor);
}

const Value& File::get(std::string_view key) const {
    if (const Value* v = find(key)) return *v;
    throw Error(ErrorCode::bad_file, fmt::format("'{}': key {} is absent", name(), quoted(key)));
}

const Tensor& File::get_tensor(std::string_view tensor) const {
    if (const Tensor* t = find_tensor(tensor)) return *t;
    throw Error(ErrorCode::bad_file, fmt::format("'{}': tensor {} is absent", name(), quoted(tensor)));
}

std::uint64_t File::u64_or(std::string_view key, std::uint64_t fallback) const {
    const Value* v = find(key);
    return v ? v->as_u64() : fallback;
}

double File::float_or(std::string_view key, double fallback) const {
    const Value* v = find(key);
    return v ? v->as_float() : fallback;
}

bool File::bool_or(std::string_view key, bool fallback) const {
    const Value* v = find(key);
    return v ? v->as_bool() : fallback;
}

std::string File::string_or(std::string_view key, std::string_view fallback) const {
    const Value* v = find(key);
    return std::string(v ? v->as_string() : fallback);
}

}  // namespace tern::gguf
