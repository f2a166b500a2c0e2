#include "base/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <tern/error.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace tern::base {
namespace {

bool read_number(const char* path, std::uint64_t& out) {
    std::ifstream in(path);
    return static_cast<bool>(in >> out);  // "max" does not parse: no limit
}

}  // namespace

std::uint64_t available_memory() noexcept {
    try {
        std::uint64_t available = 0;
        std::ifstream in("/proc/meminfo");
        for (std::string key; in >> key;) {
            if (key == "MemAvailable:" && in >> available) {
                available *= 1024;
                break;
            }
            in.ignore(256, '\n');
        }
        std::uint64_t limit = 0, used = 0;
        if (read_number("/sys/fs/cgroup/memory.max", limit) && read_number("/sys/fs/cgroup/memory.current", used))
            available = std::min(available, limit > used ? limit - used : 0);
        return available;
    } catch (...) {
        return 0;
    }
}

void lock_memory(std::span<const std::byte> bytes, const std::string& what) {
    if (bytes.empty()) return;
    const auto fail = [&](const std::string& reason) {
        throw Error(ErrorCode::out_of_memory, fmt::format("cannot lock {} bytes ({:.0f} MiB) of {} in memory: {}", bytes.size(),
                                                          static_cast<double>(bytes.size()) / (1 << 20), what, reason));
    };
    // The system would not refuse: it would look for victims until it ends this process.
    const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) {
        const std::uint64_t physical = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
        if (bytes.size() > physical) fail(fmt::format("the machine has {} bytes; load it without the lock", physical));
    }
    if (::mlock(bytes.data(), bytes.size()) == 0) return;
    const int error = errno;
    rlimit limit{};
    // Whoever may lock at all is told EPERM where the limit is 0, and ENOMEM where it is too small.
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && error != EAGAIN)
        fail(fmt::format("a process may lock {} bytes here (RLIMIT_MEMLOCK); raise the limit, as 'ulimit -l {}' does in a "
                         "shell (KiB; beyond the hard limit only root may), or load it without the lock",
                         static_cast<std::uint64_t>(limit.rlim_cur), (bytes.size() + (1 << 20)) / 1024));
    fail(std::strerror(error));
}

}  // namespace tern::base
