// Zeroed, page-aligned memory straight from the system: committed when touched, huge pages where the system has them.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace tern::base {

class AlignedBuffer {
public:
    AlignedBuffer() = default;
    // Error(out_of_memory) naming `purpose` and the size.
    AlignedBuffer(std::size_t bytes, const char* purpose);
    AlignedBuffer(AlignedBuffer&& other) noexcept { *this = std::move(other); }
    AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~AlignedBuffer();

    std::byte* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    template <class T>
    T* as() const noexcept { return reinterpret_cast<T*>(data_); }

private:
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace tern::base
