// XXH3 (64 bits), for finding and for checksums; not against forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace tern::base {

std::uint64_t hash(std::span<const std::byte> bytes, std::uint64_t seed = 0) noexcept;

// The same in pieces: equals hash() of all of them together. std::bad_alloc from the constructor.
class Hasher {
public:
    Hasher();
    ~Hasher();
    Hasher(const Hasher&) = delete;
    Hasher& operator=(const Hasher&) = delete;
    void add(std::span<const std::byte> bytes) noexcept;
    std::uint64_t value() const noexcept;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace tern::base
