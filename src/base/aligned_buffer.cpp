#include "base/aligned_buffer.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <tern/error.h>

#include <cerrno>
#include <cstring>

#include "base/checked.h"

#if defined(__SANITIZE_ADDRESS__)
#define TERN_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TERN_WATCHED 1
#endif
#endif
#ifdef TERN_WATCHED
#include <sanitizer/asan_interface.h>
#endif

namespace tern::base {
namespace {

// The address sanitizer does not watch mapped memory by itself: a poisoned page behind the buffer lets it see an
// access past the end.
#ifdef TERN_WATCHED
constexpr std::size_t kPage = 4096;
std::size_t mapped_size(std::size_t bytes) {
    std::size_t size = 0;
    return checked_add(bytes, 2 * kPage - 1, size) ? size / kPage * kPage : bytes;  // the latter is refused by mmap
}
void watch(std::byte* data, std::size_t bytes) { ASAN_POISON_MEMORY_REGION(data + bytes, mapped_size(bytes) - bytes); }
void unwatch(std::byte* data, std::size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(data, mapped_size(bytes)); }
#else
std::size_t mapped_size(std::size_t bytes) { return bytes; }
void watch(std::byte*, std::size_t) {}
void unwatch(std::byte*, std::size_t) {}
#endif

}  // namespace

AlignedBuffer::AlignedBuffer(std::size_t bytes, const char* purpose) {
    if (bytes == 0) return;
    void* p = ::mmap(nullptr, mapped_size(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
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
    watch(data_, size_);
}

AlignedBuffer::~AlignedBuffer() {
    if (!data_) return;
    unwatch(data_, size_);
    ::munmap(data_, mapped_size(size_));
}

}  // namespace tern::base
