// Holds text back as long as it may be the beginning of a stop text.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace tern::engine {

class StopFilter {
public:
    explicit StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {}

    // Text that is safe to pass on; sets `stopped` when a stop text was found (what comes before it is returned).
    std::string feed(const std::string& text, bool& stopped) {
        if (stops_.empty()) return text;
        held_ += text;
        std::size_t at = std::string::npos;
        for (const std::string& stop : stops_) at = std::min(at, held_.find(stop));
        stopped = at != std::string::npos;
        std::size_t safe = at;
        if (!stopped) {
            safe = held_.size();
            for (const std::string& stop : stops_)
                for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > 0; --n)
                    if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) {
                        safe = std::min(safe, held_.size() - n);
                        break;
                    }
        }
        std::string out = held_.substr(0, safe);
        held_.erase(0, safe);
        return out;
    }
    std::string flush() { return std::exchange(held_, {}); }

private:
    std::vector<std::string> stops_;
    std::string held_;
};

}  // namespace tern::engine
