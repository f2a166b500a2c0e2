#include <tern/dtype.h>

#include <array>

namespace tern {
namespace {

constexpr std::array kFormats{
#define TERN_FORMAT(name, id, block, bytes) DTypeInfo{DType::name, #name, block, bytes},
#include <tern/formats.def>
#undef TERN_FORMAT
};

constexpr std::uint32_t max_id() {
    std::uint32_t max = 0;
    for (const DTypeInfo& i : kFormats) max = std::max(max, static_cast<std::uint32_t>(i.dtype));
    return max;
}

constexpr auto kIndexById = [] {
    std::array<int, max_id() + 1> index{};
    index.fill(-1);
    for (std::size_t i = 0; i < kFormats.size(); ++i)
        index[static_cast<std::uint32_t>(kFormats[i].dtype)] = static_cast<int>(i);
    return index;
}();

}  // namespace

std::span<const DTypeInfo> all_dtypes() noexcept { return kFormats; }

const DTypeInfo& info(DType dtype) noexcept {
    return kFormats[static_cast<std::size_t>(kIndexById[static_cast<std::uint32_t>(dtype)])];
}

std::optional<DType> dtype_from_id(std::uint32_t gguf_id) noexcept {
    if (gguf_id >= kIndexById.size() || kIndexById[gguf_id] < 0) return std::nullopt;
    return static_cast<DType>(gguf_id);
}

std::optional<DType> dtype_from_name(std::string_view name) noexcept {
    for (const DTypeInfo& i : kFormats)
        if (name == i.name) return i.dtype;
    return std::nullopt;
}

}  // namespace tern
