#include "base/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tern/error.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>

namespace tern::base {
namespace {

struct Descriptor {
    int fd = -1;
    std::size_t size = 0;
    ~Descriptor() {
        if (fd >= 0) ::close(fd);
    }
};

[[noreturn]] void fail(const std::filesystem::path& path, const char* verb, int error) {
    throw Error(error == ENOENT ? ErrorCode::not_found : ErrorCode::io,
                fmt::format("cannot {} '{}': {}", verb, path.string(), std::strerror(error)));
}

void open_for_reading(const std::filesystem::path& path, Descriptor& file) {
    file.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file.fd < 0) fail(path, "open", errno);
    struct stat st {};
    if (::fstat(file.fd, &st) != 0) fail(path, "read the size of", errno);
    if (S_ISDIR(st.st_mode)) fail(path, "read", EISDIR);
    if (!S_ISREG(st.st_mode))
        throw Error(ErrorCode::io, fmt::format("cannot read '{}': not a regular file", path.string()));
    file.size = static_cast<std::size_t>(st.st_size);
}

}  // namespace

MappedFile MappedFile::map(const std::filesystem::path& path) {
    Descriptor file;
    open_for_reading(path, file);
    MappedFile result;
    result.mapped_ = true;
    if (file.size == 0) return result;
    void* p = ::mmap(nullptr, file.size, PROT_READ, MAP_SHARED, file.fd, 0);
    if (p == MAP_FAILED) fail(path, "map", errno);
    result.data_ = static_cast<std::byte*>(p);
    result.size_ = file.size;
    return result;
}

MappedFile MappedFile::read(const std::filesystem::path& path) {
    Descriptor file;
    open_for_reading(path, file);
    MappedFile result;
    if (file.size == 0) return result;
    result.data_ = static_cast<std::byte*>(::operator new(file.size, std::align_val_t{4096}, std::nothrow));
    if (!result.data_)
        throw Error(ErrorCode::out_of_memory,
                    fmt::format("cannot read '{}' into memory: {} bytes are not available; map it instead",
                                path.string(), file.size));
    result.size_ = file.size;
    for (std::size_t done = 0; done < file.size;) {
        const ssize_t n = ::read(file.fd, result.data_ + done, file.size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail(path, "read", errno);
        if (n == 0) throw Error(ErrorCode::io, fmt::format("'{}' became shorter while it was read", path.string()));
        done += static_cast<std::size_t>(n);
    }
    return result;
}

MappedFile::~MappedFile() {
    if (!data_) return;
    if (mapped_)
        ::munmap(data_, size_);
    else
        ::operator delete(data_, std::align_val_t{4096});
}

}  // namespace tern::base
