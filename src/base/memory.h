#pragma once

#include <cstdint>

namespace tern::base {

// Bytes that can be taken without swapping or being killed: what the system reports as available, within the limit
// of the process's control group. 0 when unknown.
std::uint64_t available_memory() noexcept;

}  // namespace tern::base
