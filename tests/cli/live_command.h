// A `tern` that runs while the test talks to it, sends it signals, or kills it.
#pragma once

#include <pty.h>
#include <utmp.h>

#include <utility>

#include "cli/command.h"

namespace tern::test {

class LiveCommand {
public:
    // With a terminal, stdin and stderr are one; stdout is a pipe either way.
    explicit LiveCommand(const std::vector<std::string>& arguments, bool terminal = false) {
        std::vector<std::string> words{TERN_COMMAND};
        words.insert(words.end(), arguments.begin(), arguments.end());
        std::vector<char*> argv;
        for (std::string& word : words) argv.push_back(word.data());
        argv.push_back(nullptr);
        int input[2] = {-1, -1}, output[2] = {-1, -1}, errors[2] = {-1, -1};
        int keyboard = -1;
        if (pipe2(output, O_CLOEXEC) != 0) ADD_FAILURE() << "no pipe";
        if (terminal) {
            if (openpty(&err_, &keyboard, nullptr, nullptr, nullptr) != 0) ADD_FAILURE() << "no terminal";
            fcntl(err_, F_SETFD, FD_CLOEXEC);
            in_ = err_;
        } else {
            if (pipe2(input, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0) ADD_FAILURE() << "no pipe";
            in_ = input[1];
            err_ = errors[0];
        }
        child_ = fork();
        if (child_ == 0) {
            std::signal(SIGPIPE, SIG_DFL);
            if (terminal) {
                login_tty(keyboard);
                setenv("TERM", "vt100", 1);
            } else {
                dup2(input[0], STDIN_FILENO);
                dup2(errors[1], STDERR_FILENO);
            }
            dup2(output[1], STDOUT_FILENO);
            execv(argv[0], argv.data());
            _exit(127);
        }
        out_ = output[0];
        close(output[1]);
        for (const int file : {input[0], errors[1], keyboard})
            if (file >= 0) close(file);
    }
    ~LiveCommand() {
        if (child_ > 0) {
            kill(child_, SIGKILL);
            wait();
        }
        close_input();
        for (const int file : {out_, in_ == err_ ? -1 : err_})
            if (file >= 0) close(file);
        if (in_ >= 0) close(in_);
    }
    LiveCommand(const LiveCommand&) = delete;
    LiveCommand& operator=(const LiveCommand&) = delete;

    void type(const std::string& text) {
        struct sigaction ignore {}, before {};
        ignore.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &ignore, &before);
        EXPECT_EQ(write(in_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
        sigaction(SIGPIPE, &before, nullptr);
    }
    void close_input() {
        if (in_ >= 0 && in_ != err_) close(std::exchange(in_, -1));
    }
    void signal(int number) { kill(child_, number); }

    // Reads on until `done()`, or for half a minute.
    template <class Done>
    bool read_until(Done done) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (!done()) {
            pollfd files[] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
            if (std::chrono::steady_clock::now() > end || (out_ < 0 && err_ < 0)) return done();
            if (poll(files, 2, 1000) <= 0) continue;
            for (int i = 0; i < 2; ++i) {
                if (files[i].fd < 0 || files[i].revents == 0) continue;
                char bytes[4096];
                const ssize_t n = read(files[i].fd, bytes, sizeof bytes);
                if (n > 0)
                    (i == 0 ? out : err).append(bytes, static_cast<std::size_t>(n));
                else if (n == 0 || errno != EINTR)
                    drop(i == 0 ? out_ : err_);
            }
        }
        return true;
    }
    bool err_has(const std::string& text) {
        return read_until([&] { return err.find(text) != std::string::npos; });
    }

    // Waits for its end and gives the exit status, or minus the signal that ended it.
    int wait() {
        if (child_ <= 0) return 127;
        read_until([] { return false; });
        int status = 0;
        waitpid(std::exchange(child_, -1), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }

    std::string out, err;

private:
    void drop(int& file) {
        if (file == in_) in_ = -1;
        close(std::exchange(file, -1));
    }
    pid_t child_ = -1;
    int in_ = -1, out_ = -1, err_ = -1;
};

}  // namespace tern::test
