// Runs the built `tern` as a child process and gives what it said.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace tern::test {

struct Outcome {
    int exit_status = -1;  // -1: ended by a signal
    int signal = 0;
    std::string out, err;
    double seconds = 0;
    long most_resident_kib = 0;
};

enum class Stream { pipe, closed, full, reader_gone };  // full: /dev/full

struct Io {
    std::string in;                  // what stdin holds
    Stream out = Stream::pipe;
    Stream err = Stream::pipe;       // pipe or closed
    bool ignore_sigpipe = false;
    std::filesystem::path directory{};  // working directory
};

namespace detail {

inline void give_up(const char* what) {
    const auto ignored = write(STDERR_FILENO, what, std::char_traits<char>::length(what));
    static_cast<void>(ignored);
    _exit(127);
}

// In the child, between fork and exec: system calls only.
inline void set_up(const Io& io, const int (&in)[2], const int (&out)[2], const int (&err)[2]) {
    std::signal(SIGPIPE, io.ignore_sigpipe ? SIG_IGN : SIG_DFL);
    if (!io.directory.empty() && chdir(io.directory.c_str()) != 0) give_up("chdir");
    dup2(in[0], STDIN_FILENO);
    switch (io.out) {
        case Stream::closed: close(STDOUT_FILENO); break;
        case Stream::full: dup2(open("/dev/full", O_WRONLY | O_CLOEXEC), STDOUT_FILENO); break;
        default: dup2(out[1], STDOUT_FILENO); break;
    }
    if (io.err == Stream::closed)
        close(STDERR_FILENO);
    else
        dup2(err[1], STDERR_FILENO);
}

}  // namespace detail

inline Outcome tern(const std::vector<std::string>& arguments, const Io& io = {}) {
    std::vector<std::string> words{TERN_COMMAND};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);

    int in[2], out[2], err[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
        ADD_FAILURE() << "no pipes";
        return {};
    }
    const auto begin = std::chrono::steady_clock::now();
    if (io.out == Stream::reader_gone) close(std::exchange(out[0], -1));
    const pid_t child = fork();
    if (child == 0) {
        detail::set_up(io, in, out, err);
        execv(argv[0], argv.data());
        detail::give_up("the tern command cannot be run");
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);

    Outcome result;
    struct sigaction ignore {}, before {};
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &ignore, &before);
    std::size_t written = 0;
    pollfd files[] = {{in[1], POLLOUT, 0}, {out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
    if (io.in.empty()) close(std::exchange(files[0].fd, -1));
    while (files[0].fd >= 0 || files[1].fd >= 0 || files[2].fd >= 0) {
        if (poll(files, 3, 120000) <= 0) {
            ADD_FAILURE() << "no answer for two minutes";
            kill(child, SIGKILL);
            break;
        }
        if (files[0].fd >= 0 && files[0].revents != 0) {
            const ssize_t n = write(files[0].fd, io.in.data() + written, io.in.size() - written);
            if (n > 0) written += static_cast<std::size_t>(n);
            if (n < 0 || written == io.in.size()) close(std::exchange(files[0].fd, -1));
        }
        for (const int i : {1, 2})
            if (files[i].fd >= 0 && files[i].revents != 0) {
                char buffer[65536];
                const ssize_t n = read(files[i].fd, buffer, sizeof buffer);
                if (n > 0)
                    (i == 1 ? result.out : result.err).append(buffer, static_cast<std::size_t>(n));
                else if (n == 0 || errno != EINTR)
                    close(std::exchange(files[i].fd, -1));
            }
    }
    sigaction(SIGPIPE, &before, nullptr);
    int status = 0;
    rusage usage{};
    wait4(child, &status, 0, &usage);
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    result.most_resident_kib = usage.ru_maxrss;
    if (WIFEXITED(status)) result.exit_status = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
    return result;
}

// One line on stderr: what went wrong, with these parts in it; nothing on stdout.
inline testing::AssertionResult failed(const Outcome& outcome, int exit_status, const std::vector<std::string>& parts = {},
                                       bool silent = true) {
    const auto no = [&] {
        return testing::AssertionFailure() << "status " << outcome.exit_status << ", signal " << outcome.signal
                                           << ", stdout '" << outcome.out << "', stderr '" << outcome.err << "': ";
    };
    if (outcome.exit_status != exit_status) return no() << "the status should be " << exit_status;
    if (silent && !outcome.out.empty()) return no() << "stdout should be empty";
    if (!outcome.err.starts_with("tern: error: ") || !outcome.err.ends_with('\n') ||
        std::count(outcome.err.begin(), outcome.err.end(), '\n') != 1)
        return no() << "stderr should be one line, tern: error: ...";
    for (const std::string& part : parts)
        if (outcome.err.find(part) == std::string::npos) return no() << "the line should name " << part;
    return testing::AssertionSuccess();
}

// Done, with nothing on stderr.
inline testing::AssertionResult done(const Outcome& outcome) {
    if (outcome.exit_status == 0 && outcome.err.empty()) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "status " << outcome.exit_status << ", signal " << outcome.signal
                                       << ", stderr '" << outcome.err << "'";
}

// A folder of its own for each test, gone afterwards.
class CommandTest : public testing::Test {
protected:
    CommandTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "tern-cli-XXXXXX").string();
        if (mkdtemp(pattern.data()) == nullptr) ADD_FAILURE() << "no temporary folder: " << pattern;
        folder_ = pattern;
    }
    ~CommandTest() override {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    std::string path(const std::string& name) const { return (folder_ / name).string(); }
    std::string write_file(const std::string& name, const std::string& bytes) const {
        std::ofstream(folder_ / name, std::ios::binary) << bytes;
        return path(name);
    }
    static std::string read_file(const std::filesystem::path& file) {
        std::ifstream in(file, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    std::vector<std::string> names() const {
        std::vector<std::string> out;
        for (const auto& entry : std::filesystem::directory_iterator(folder_)) out.push_back(entry.path().filename());
        std::sort(out.begin(), out.end());
        return out;
    }
    std::filesystem::path folder_;
};

}  // namespace tern::test
