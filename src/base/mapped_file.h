// A read-only view of a file: mapped, or read into memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>

namespace tern::base {

class MappedFile {
public:
    // Error(not_found) or Error(io), naming the path and the system's reason.
    static MappedFile map(const std::filesystem::path& path);
    static MappedFile read(const std::filesystem::path& path);

    MappedFile() = default;
    MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
    MappedFile& operator=(MappedFile&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(mapped_, other.mapped_);
        return *this;
    }
    ~MappedFile();

    std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
    bool mapped() const noexcept { return mapped_; }

private:
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    bool mapped_ = false;
};

}  // namespace tern::base
