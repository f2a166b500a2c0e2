// tern logits: the scores of every next token, for comparison with other programs.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "common.h"

namespace tern::cli {
namespace {

namespace fs = std::filesystem;

struct LogitsOptions {
    std::string model;
    RuntimeArgs runtime;
    std::string tokens;
    std::string out;
    std::uint32_t chunk = 0;
    std::uint32_t context = 0;
    KvType kv_type = KvType::f16;
};

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::vector<TokenId> read_tokens(const fs::path& path) {
    const std::string text = read_bytes(path);
    std::vector<TokenId> ids;
    const char* at = text.data();
    const char* const end = at + text.size();
    while (at < end) {
        if (is_space(*at)) {
            ++at;
            continue;
        }
        TokenId id = 0;
        const auto [rest, error] = std::from_chars(at, end, id);
        if (error != std::errc() || (rest < end && !is_space(*rest)))
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("{}, byte {}: not a token id; the file must hold numbers separated by white space",
                                    path.string(), at - text.data()));
        ids.push_back(id);
        at = rest;
    }
    if (ids.empty())
        throw Error(ErrorCode::invalid_argument, fmt::format("{} holds no token ids", path.string()));
    return ids;
}

// Writes beside the target and renames at the end, so that a failure leaves no half file. What is not a regular
// file (/dev/stdout, a pipe) is written directly.
class OutputFile {
public:
    explicit OutputFile(const fs::path& target) : target_(target), written_(target) {
        std::error_code ignored;
        const bool direct = fs::exists(target, ignored) && !fs::is_regular_file(target, ignored);
        if (!direct) written_ += fmt::format(".{}.part", getpid());
        file_ = open(written_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (direct ? 0 : O_TRUNC), 0666);
        if (file_ < 0) fail("created");
        temporary_ = !direct;
    }
    ~OutputFile() {
        if (file_ >= 0) close(file_);
        if (temporary_) unlink(written_.c_str());
    }
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    void write(std::span<const float> values) {
        static_assert(std::endian::native == std::endian::little, "the file is little-endian");
        const auto bytes = std::as_bytes(values);
        for (std::size_t done = 0; done < bytes.size();) {
            const ssize_t n = ::write(file_, bytes.data() + done, bytes.size() - done);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) fail("written");
            done += static_cast<std::size_t>(n);
        }
    }
    void finish() {
        const int file = std::exchange(file_, -1);
        if (close(file) != 0) fail("written");
        if (!temporary_) return;
        if (std::rename(written_.c_str(), target_.c_str()) != 0) fail("renamed to its final name");
        temporary_ = false;
    }

private:
    [[noreturn]] void fail(const char* what) {
        throw Error(ErrorCode::io, fmt::format("{} cannot be {}: {}", written_.string(), what, std::strerror(errno)));
    }
    fs::path target_, written_;
    int file_ = -1;
    bool temporary_ = false;
};

int run(const LogitsOptions& options) {
    const std::vector<TokenId> tokens = read_tokens(options.tokens);
    const Runtime runtime = make_runtime(options.runtime);
    const Model model = load_model(runtime, model_path(options.model), options.runtime.lock);
    const auto count = static_cast<std::uint32_t>(tokens.size());
    // By default pieces whose scores take some 64 MiB; the bits do not depend on it.
    const std::uint32_t chunk =
        options.chunk ? options.chunk
                      : std::clamp((16u << 20) / std::max(model.info().vocab_size, 1u), 1u, 512u);
    note_long_context(model.info(), count);
    Session session =
        open_on<Session>(model, SessionOptions{.context = options.context ? options.context : count,
                                               .kv_type = options.kv_type,
                                               .batch = std::min(chunk, 4096u)});
    OutputFile out(options.out);
    Progress bar("tokens");
    for (std::size_t done = 0; done < tokens.size();) {
        const std::size_t piece = std::min<std::size_t>(chunk, tokens.size() - done);
        const Append append{.tokens = std::span(tokens).subspan(done, piece), .all_logits = true};
        out.write(session.eval({&append, 1}));
        done += piece;
        bar.update(static_cast<double>(done) / static_cast<double>(tokens.size()));
    }
    out.finish();
    if (options.runtime.verbose)
        print_note(fmt::format("{} rows of {} scores in {}", count, model.info().vocab_size, options.out));
    return 0;
}

}  // namespace

void add_logits(CLI::App& program, Action& action) {
    const auto o = std::make_shared<LogitsOptions>();
    CLI::App* command =
        add_command(program, action, "logits", "Writes the scores of every next token, for given tokens.", o, run);
    command->add_option("--tokens", o->tokens, "file of token ids, separated by white space")->option_text("FILE")->required();
    command->add_option("--out", o->out, "raw little-endian f32, a row per token")->option_text("FILE")->required();
    command->add_option("--chunk", o->chunk, "tokens computed at a time; the same bits")->option_text("N")->check(CLI::PositiveNumber);
    command->add_option("--ctx", o->context, "context in tokens (as many as the file has)")->option_text("N");
    add_kv_type_option(command, o->kv_type);
    add_model_option(command, o->model);
    add_runtime_options(command, o->runtime);
    command->footer("Example:\n  tern logits -m model.gguf --tokens ids.txt --out scores.f32");
}

}  // namespace tern::cli
