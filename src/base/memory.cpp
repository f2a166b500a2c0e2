#include "base/memory.h"

#include <algorithm>
#include <fstream>
#include <string>

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

}  // namespace tern::base
