#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace tern::base {

// Bytes that can be taken without swapping or being killed: what the system reports as available, within the limit
// of the process's control group. 0 when unknown.
std::uint64_t available_memory() noexcept;

// Reads in the pages of `bytes` and keeps them in memory until they are unmapped. Error(out_of_memory) naming `what`, with
// the limit in bytes where the limit of locked memory is the reason.
void lock_memory(std::span<const std::byte> bytes, const std::string& what);

}  // namespace tern::base
