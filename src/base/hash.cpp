#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tern::base {

std::uint64_t hash(std::span<const std::byte> bytes, std::uint64_t seed) noexcept {
    return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

struct alignas(64) Hasher::State {
    XXH3_state_t state;
};

Hasher::Hasher() : state_(std::make_unique<State>()) { XXH3_64bits_reset(&state_->state); }
Hasher::~Hasher() = default;
void Hasher::add(std::span<const std::byte> bytes) noexcept {
    if (!bytes.empty()) XXH3_64bits_update(&state_->state, bytes.data(), bytes.size());
}
std::uint64_t Hasher::value() const noexcept { return XXH3_64bits_digest(&state_->state); }

}  // namespace tern::base
