// Ctrl-C as an event for ordinary code.
#pragma once

#include <csignal>
#include <functional>
#include <thread>

namespace tern::cli {

// While it lives, SIGINT calls `what` on a thread of its own, where locks and the engine may be used as anywhere. With
// `once`, the next SIGINT ends the program as usual. One at a time.
class OnInterrupt {
public:
    OnInterrupt(std::function<void()> what, bool once);
    ~OnInterrupt();
    OnInterrupt(const OnInterrupt&) = delete;
    OnInterrupt& operator=(const OnInterrupt&) = delete;

private:
    int pipe_[2];
    struct sigaction before_ {};
    std::thread thread_;
};

}  // namespace tern::cli
