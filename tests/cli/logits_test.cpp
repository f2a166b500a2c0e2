// tern logits: raw f32 rows, whatever the chunk, the instruction set and the threads.
#include <cmath>
#include <cstring>

#include "cli/command.h"
#include "cli/tiny_model.h"
#include "support/nmse.h"
#include "tern/tern.h"

namespace tern::test {
namespace {

class Logits : public CommandTest {
protected:
    Logits() {
        tiny_model().write(path("m.gguf"));
        for (int i = 0; i < 150; ++i) {
            tokens_.push_back(static_cast<TokenId>((1 + i * 37) % kTinyVocabulary));
            text_ += std::to_string(tokens_.back()) + (i % 10 == 9 ? "\n" : i % 3 ? " " : "\t");
        }
        write_file("ids.txt", text_);
    }
    Outcome logits(std::vector<std::string> more, const std::string& out, const Io& io = {}) const {
        std::vector<std::string> call{"logits", "-m", path("m.gguf"), "--tokens", path("ids.txt"), "--out", out};
        call.insert(call.end(), more.begin(), more.end());
        return tern(call, io);
    }
    std::string bytes(std::vector<std::string> more) const {
        const Outcome o = logits(more, path("out"));
        EXPECT_TRUE(done(o));
        EXPECT_EQ(o.out, "");
        const std::string result = read_file(path("out"));
        std::filesystem::remove(path("out"));
        return result;
    }
    std::vector<TokenId> tokens_;
    std::string text_;
};

TEST_F(Logits, TheSameBytesOnEveryPath) {
    const std::string whole = bytes({});
    ASSERT_EQ(whole.size(), tokens_.size() * kTinyVocabulary * 4);
    for (const char* chunk : {"1", "7", "64", "1000"}) EXPECT_TRUE(bytes({"--chunk", chunk}) == whole) << chunk;
    for (const char* threads : {"1", "2", "4"}) EXPECT_TRUE(bytes({"-t", threads}) == whole) << threads;
    EXPECT_TRUE(bytes({"--backend", "ref"}) == whole);
    EXPECT_TRUE(bytes({"--ctx", "200"}) == whole);
    for (const char* isa : {"scalar", "avx2", "avxvnni", "avx512", "neon"}) {
        const Outcome o = logits({"--isa", isa, "--chunk", "7"}, path("forced"));
        if (o.exit_status == 1 && o.err.find("not on this CPU") != std::string::npos) continue;
        EXPECT_TRUE(done(o));
        EXPECT_TRUE(read_file(path("forced")) == whole) << isa;
    }
    const std::string wide = bytes({"--kv-type", "f32"});
    EXPECT_EQ(wide.size(), whole.size());
    EXPECT_FALSE(wide == whole) << "--kv-type had no effect";
    EXPECT_TRUE(bytes({"--kv-type", "f32", "--chunk", "7"}) == wide);
    EXPECT_TRUE(bytes({"--kv-type", "f16"}) == whole) << "f16 is the default";
    const std::string narrow = bytes({"--kv-type", "q8_0"});
    EXPECT_EQ(narrow.size(), whole.size());
    EXPECT_FALSE(narrow == whole || narrow == wide) << "--kv-type q8_0 had no effect";
    EXPECT_TRUE(bytes({"--kv-type", "q8_0", "--chunk", "7", "-t", "2"}) == narrow);
    EXPECT_TRUE(bytes({"--kv-type", "q8_0", "--backend", "ref"}) == narrow);
    const std::string least = bytes({"--kv-type", "q4_0"});
    EXPECT_EQ(least.size(), whole.size());
    EXPECT_FALSE(least == whole || least == wide || least == narrow) << "--kv-type q4_0 had no effect";
    EXPECT_TRUE(bytes({"--kv-type", "q4_0", "--chunk", "7", "-t", "2"}) == least);
    EXPECT_TRUE(bytes({"--kv-type", "q4_0", "--backend", "ref"}) == least);
}

TEST_F(Logits, OfBackendBlas) {
    if (!TERN_HAVE_OPENBLAS) {
        EXPECT_TRUE(failed(logits({"--backend", "blas"}, path("out")), 1, {"blas", "libopenblas-dev", "cpu"}));
        return;
    }
    const std::string wide = bytes({"--kv-type", "f32", "--backend", "blas"});
    std::vector<float> got(wide.size() / sizeof(float));
    std::memcpy(got.data(), wide.data(), wide.size());
    // The library's own on that backend: the same sums, in an order that OpenBLAS may choose anew.
    const Runtime runtime({.threads = 1, .backend = "blas"});
    Session session(Model::load(runtime, path("m.gguf")), {.context = 150, .kv_type = KvType::f32});
    const Append item{.tokens = tokens_, .all_logits = true};
    const auto rows = session.eval({&item, 1});
    ASSERT_EQ(got.size(), rows.size());
    EXPECT_LT(nmse(got, rows), 1e-9);
    EXPECT_FALSE(wide == bytes({"--kv-type", "f32"})) << "--backend had no effect";
    EXPECT_TRUE(bytes({"--backend", "blas", "--chunk", "7"}) == bytes({})) << "few tokens are the default's";
}

// The file is what the library gives: a row per token, in order, native little-endian floats.
TEST_F(Logits, AreTheSessions) {
    const Runtime runtime({.threads = 1});
    Session session(Model::load(runtime, path("m.gguf")), {.context = 150});
    const Append item{.tokens = tokens_, .all_logits = true};
    const auto rows = session.eval({&item, 1});
    const std::string got = bytes({});
    ASSERT_EQ(got.size(), rows.size_bytes());
    EXPECT_EQ(std::memcmp(got.data(), rows.data(), got.size()), 0);
    for (const float x : rows) ASSERT_TRUE(std::isfinite(x));
}

TEST_F(Logits, FailuresLeaveNoFile) {
    const auto before = names();
    EXPECT_TRUE(failed(logits({}, path("no/such/folder/out")), 1, {"no/such/folder/out"}));
    EXPECT_TRUE(failed(logits({}, folder_), 1, {folder_.filename()}));
    EXPECT_TRUE(failed(logits({}, "/dev/full"), 1, {"/dev/full"}));
    EXPECT_TRUE(failed(logits({"--ctx", "100"}, path("out")), 1, {"100"}));
    const auto with_tokens = [&](const std::string& text) {
        write_file("ids.txt", text);
        return logits({}, path("out"));
    };
    EXPECT_TRUE(failed(with_tokens(""), 1, {"ids.txt"}));
    EXPECT_TRUE(failed(with_tokens(" \n\t"), 1, {"ids.txt"}));
    EXPECT_TRUE(failed(with_tokens("1 2 x"), 1, {"ids.txt"}));
    EXPECT_TRUE(failed(with_tokens("1,2"), 1, {"ids.txt"}));
    EXPECT_TRUE(failed(with_tokens("1 100000"), 1, {"100000"}));
    EXPECT_TRUE(failed(with_tokens("1 -5"), 1, {"-5"}));
    EXPECT_TRUE(failed(with_tokens("99999999999"), 1, {"ids.txt"}));
    std::filesystem::remove(path("ids.txt"));
    EXPECT_TRUE(failed(logits({}, path("out")), 1, {"ids.txt"}));
    write_file("ids.txt", text_);
    EXPECT_EQ(names(), before) << "a failure left files behind";
}

TEST_F(Logits, ReplaceAnOldFileOnlyWhenAllIsWritten) {
    write_file("out", "precious");
    EXPECT_TRUE(failed(logits({"--ctx", "100"}, path("out")), 1));
    EXPECT_EQ(read_file(path("out")), "precious");
    EXPECT_TRUE(done(logits({}, path("out"))));
    EXPECT_EQ(read_file(path("out")).size(), tokens_.size() * kTinyVocabulary * 4);
}

// The number of a stream that the caller closed may go to a file that is opened since: it must not get the stream's text.
TEST_F(Logits, AClosedStdoutDoesNotLeakIntoTheFile) {
    const std::string want = bytes({});
    EXPECT_EQ(logits({}, path("out"), {.out = Stream::closed}).exit_status, 0);
    EXPECT_TRUE(read_file(path("out")) == want);
}

TEST_F(Logits, AClosedStderrDoesNotLeakIntoTheFile) {
    const std::string want = bytes({});
    EXPECT_EQ(logits({"-v"}, path("out"), {.err = Stream::closed}).exit_status, 0);
    EXPECT_TRUE(read_file(path("out")) == want);
}

}  // namespace
}  // namespace tern::test
