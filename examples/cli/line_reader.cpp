#include "line_reader.h"

#include <histedit.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cwchar>

#include <fmt/format.h>

#include <tern/error.h>

namespace tern::cli {
namespace {

constexpr int kHistory = 500;

}  // namespace

struct LineReader::Impl {
    int interrupts = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool terminal = isatty(STDIN_FILENO) == 1;
    bool interrupted = false;
    std::string prompt;
    std::string buffer;  // plain: read and not yet taken
    bool at_end = false;
    EditLine* edit = nullptr;
    History* history = nullptr;

    static Impl& of(EditLine* edit) {
        void* self = nullptr;
        el_get(edit, EL_CLIENTDATA, &self);
        return *static_cast<Impl*>(self);
    }
    static char* prompt_of(EditLine* edit) { return of(edit).prompt.data(); }

    // 1: there is something to read, 0: interrupted, -1: errno.
    int wait() {
        pollfd files[] = {{STDIN_FILENO, POLLIN, 0}, {interrupts, POLLIN, 0}};
        for (;;) {
            if (poll(files, 2, -1) < 0) {
                if (errno == EINTR) continue;
                return -1;
            }
            if (files[1].revents != 0) {
                forget();
                return 0;
            }
            if (files[0].revents != 0) return 1;
        }
    }
    void forget() const {
        std::uint64_t count = 0;
        [[maybe_unused]] const auto ignored = ::read(interrupts, &count, sizeof count);
    }

    // One character for libedit, whose own reading goes on over a signal.
    static int get_character(EditLine* edit, wchar_t* out) {
        Impl& self = of(edit);
        std::mbstate_t state{};
        for (int bytes = 0; bytes < 8; ++bytes) {
            const int ready = self.wait();
            if (ready <= 0) {
                self.interrupted = ready == 0;
                return -1;
            }
            char byte = 0;
            const ssize_t n = ::read(STDIN_FILENO, &byte, 1);
            if (n <= 0) return static_cast<int>(n);
            // Ctrl-D typed during an answer: what the terminal makes of an end of file when lines are no longer its own.
            if (byte == 0) byte = 4;
            const std::size_t used = std::mbrtowc(out, &byte, 1, &state);
            if (used == static_cast<std::size_t>(-2)) continue;
            if (used == static_cast<std::size_t>(-1)) {  // no UTF-8: it is dropped
                state = {};
                bytes = -1;
                continue;
            }
            return 1;
        }
        return -1;
    }

    LineEnd read_edited(std::string& line) {
        interrupted = false;
        int length = 0;
        el_resize(edit);
        const char* text = el_gets(edit, &length);
        if (interrupted) {
            std::fputs("^C\n", stderr);
            return LineEnd::interrupted;
        }
        if (text == nullptr || length <= 0) {
            std::fputs("\n", stderr);
            return LineEnd::end;
        }
        line.assign(text, static_cast<std::size_t>(length));
        if (line.ends_with('\n')) line.pop_back();
        if (line.find_first_not_of(' ') != line.npos) {
            HistEvent event{};
            ::history(history, &event, H_ENTER, line.c_str());
        }
        return LineEnd::line;
    }

    LineEnd read_plain(std::string& line) {
        for (;;) {
            const std::size_t end = buffer.find('\n');
            if (end != buffer.npos || (at_end && !buffer.empty())) {
                line = buffer.substr(0, end);
                buffer.erase(0, end == buffer.npos ? end : end + 1);
                if (line.ends_with('\r')) line.pop_back();
                return LineEnd::line;
            }
            if (at_end) return LineEnd::end;
            const int ready = wait();
            if (ready == 0) return LineEnd::interrupted;
            char bytes[4096];
            const ssize_t n = ready < 0 ? -1 : ::read(STDIN_FILENO, bytes, sizeof bytes);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0)
                throw Error(ErrorCode::io, fmt::format("standard input cannot be read: {}", std::strerror(errno)));
            at_end = n == 0;
            buffer.append(bytes, static_cast<std::size_t>(n));
        }
    }
};

LineReader::LineReader(const char* program) : impl_(std::make_unique<Impl>()) {
    Impl& self = *impl_;
    if (self.interrupts < 0)
        throw Error(ErrorCode::io, fmt::format("an event cannot be made: {}", std::strerror(errno)));
    if (!self.terminal) return;
    // The text of models and people is UTF-8, whatever the locale says.
    std::setlocale(LC_CTYPE, "");
    if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
    self.edit = el_init(program, stdin, stderr, stderr);
    self.history = history_init();
    if (self.edit == nullptr || self.history == nullptr)
        throw Error(ErrorCode::out_of_memory, "there is no memory for editing lines");
    HistEvent event{};
    history(self.history, &event, H_SETSIZE, kHistory);
    history(self.history, &event, H_SETUNIQUE, 1);
    el_set(self.edit, EL_CLIENTDATA, &self);
    el_set(self.edit, EL_PROMPT, &Impl::prompt_of);
    el_set(self.edit, EL_EDITOR, "emacs");
    el_set(self.edit, EL_HIST, history, self.history);
    el_set(self.edit, EL_GETCFN, &Impl::get_character);
    el_set(self.edit, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_source(self.edit, nullptr);
}

LineReader::~LineReader() {
    if (impl_->edit != nullptr) el_end(impl_->edit);
    if (impl_->history != nullptr) history_end(impl_->history);
    if (impl_->interrupts >= 0) close(impl_->interrupts);
}

bool LineReader::terminal() const noexcept { return impl_->terminal; }

LineEnd LineReader::read(const std::string& prompt, std::string& line) {
    if (!impl_->terminal) return impl_->read_plain(line);
    impl_->prompt = prompt;
    return impl_->read_edited(line);
}

void LineReader::interrupt() noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto ignored = write(impl_->interrupts, &one, sizeof one);
}

void LineReader::forget_interrupt() noexcept { impl_->forget(); }

}  // namespace tern::cli
