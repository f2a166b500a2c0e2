#include "base/aligned_buffer.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <tern/error.h>

#include <cerrno>
#include <cstring>

namespace tern::base {

AlignedBuffer::AlignedBuffer(std::size_t bytes, const char* purpose) {
    if (bytes == 0) return;
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        throw Error(ErrorCode::out_of_memory,
                    fmt::format("cannot allocate {} bytes ({:.1f} MiB) for {}: {}", bytes,
                                static_cast<double>(bytes) / (1 << 20), purpose, std::strerror(errno)));
#ifdef MADV_HUGEPAGE
    constexpr std::size_t kHuge = std::size_t{2} << 20;
    if (bytes >= kHuge) ::madvise(p, bytes, MADV_HUGEPAGE);
#endif
    data_ = static_cast<std::byte*>(p);
    size_ = bytes;
}

AlignedBuffer::~AlignedBuffer() {
    if (data_) ::munmap(data_, size_);
}

}  // namespace tern::base
