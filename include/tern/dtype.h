// Tensor formats: one enumerator per row of formats.def, valued by its GGUF type id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <tern/export.h>

namespace tern {

enum class DType : std::uint32_t {
#define TERN_FORMAT(name, id, block, bytes) name = id,
#include <tern/formats.def>
#undef TERN_FORMAT
};

struct DTypeInfo {
    DType dtype;
    const char* name;           // as GGUF writes it: "Q4_K"
    std::uint32_t block;        // elements per block
    std::uint32_t block_bytes;  // bytes per block
};

// All formats, in the order of formats.def.
TERN_API std::span<const DTypeInfo> all_dtypes() noexcept;

// Never fails for an enumerator of DType.
TERN_API const DTypeInfo& info(DType dtype) noexcept;
inline const char* to_string(DType dtype) noexcept { return info(dtype).name; }

// By GGUF id or by name (case matters); empty where Tern does not know it.
TERN_API std::optional<DType> dtype_from_id(std::uint32_t gguf_id) noexcept;
TERN_API std::optional<DType> dtype_from_name(std::string_view name) noexcept;

// Bytes of a row of `elements`; `elements` must be a multiple of the block (otherwise it is rounded down).
inline std::size_t row_bytes(DType dtype, std::size_t elements) noexcept {
    const DTypeInfo& i = info(dtype);
    return elements / i.block * i.block_bytes;
}

}  // namespace tern
