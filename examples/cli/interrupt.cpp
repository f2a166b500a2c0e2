#include "interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include <tern/error.h>

namespace tern::cli {
namespace {

std::atomic<int> write_end{-1};

void on_signal(int) {
    const int error = errno;
    const char byte = 0;
    [[maybe_unused]] const auto ignored = write(write_end.load(), &byte, 1);
    errno = error;
}

}  // namespace

OnInterrupt::OnInterrupt(std::function<void()> what, bool once) {
    if (pipe2(pipe_, O_CLOEXEC) != 0)
        throw Error(ErrorCode::io, fmt::format("a pipe cannot be made: {}", std::strerror(errno)));
    write_end = pipe_[1];
    thread_ = std::thread([file = pipe_[0], what = std::move(what)] {
        char byte = 0;
        for (;;) {
            const ssize_t n = read(file, &byte, 1);
            if (n < 0 && errno == EINTR) continue;
            if (n != 1 || byte != 0) return;
            what();
        }
    });
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART | (once ? static_cast<int>(SA_RESETHAND) : 0);
    sigaction(SIGINT, &action, &before_);
}

OnInterrupt::~OnInterrupt() {
    sigaction(SIGINT, &before_, nullptr);
    const char end = 1;
    [[maybe_unused]] const auto ignored = write(pipe_[1], &end, 1);
    thread_.join();
    close(pipe_[0]);
    close(pipe_[1]);
}

}  // namespace tern::cli
