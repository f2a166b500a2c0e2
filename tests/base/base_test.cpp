#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <tern/dtype.h>
#include <tern/error.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "base/aligned_buffer.h"
#include "base/checked.h"
#include "base/mapped_file.h"
#include "base/memory.h"
#include "support/sanitizer.h"

namespace tern {
namespace {

ErrorCode code_of(const std::function<void()>& f) {
    try {
        f();
    } catch (const Error& e) {
        EXPECT_STRNE(e.what(), "");
        return e.code();
    }
    ADD_FAILURE() << "nothing was thrown";
    return ErrorCode::internal;
}

TEST(Checked, SaysWhenItOverflows) {
    std::uint64_t out = 0;
    EXPECT_TRUE(base::checked_add<std::uint64_t>(UINT64_MAX - 1, 1, out));
    EXPECT_FALSE(base::checked_add<std::uint64_t>(UINT64_MAX, 1, out));
    EXPECT_TRUE(base::checked_mul<std::uint64_t>(UINT64_C(1) << 32, UINT64_C(0xffffffff), out));
    EXPECT_FALSE(base::checked_mul<std::uint64_t>(UINT64_C(1) << 32, UINT64_C(1) << 32, out));
    EXPECT_TRUE(base::checked_align_up<std::uint64_t>(33, 32, out));
    EXPECT_EQ(out, 64u);
    EXPECT_FALSE(base::checked_align_up<std::uint64_t>(UINT64_MAX - 3, 32, out));
}

TEST(DTypes, AreConsistent) {
    std::set<std::uint32_t> ids;
    for (const DTypeInfo& i : all_dtypes()) {
        EXPECT_TRUE(ids.insert(static_cast<std::uint32_t>(i.dtype)).second);
        EXPECT_EQ(dtype_from_name(i.name), i.dtype);
        EXPECT_EQ(dtype_from_id(static_cast<std::uint32_t>(i.dtype)), i.dtype);
        EXPECT_EQ(&info(i.dtype), &i);
        EXPECT_EQ(row_bytes(i.dtype, 4 * i.block), 4 * i.block_bytes);
    }
    EXPECT_EQ(ids.size(), 26u);
    EXPECT_FALSE(dtype_from_id(4));
    EXPECT_FALSE(dtype_from_id(0xffffffff));
    EXPECT_FALSE(dtype_from_name("q4_k"));
}

TEST(AlignedBuffer, RefusesWhatTheMachineDoesNotHave) {
    EXPECT_EQ(code_of([] { base::AlignedBuffer(std::size_t{1} << 60, "a test"); }), ErrorCode::out_of_memory);
    const base::AlignedBuffer none(0, "a test");
    EXPECT_EQ(none.data(), nullptr);
    const base::AlignedBuffer some(100, "a test");
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(some.data()) % 64, 0u);
    for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(some.data()[i], std::byte{0});
}

TEST(MappedFile, MapsAndReads) {
    const std::filesystem::path path = std::filesystem::temp_directory_path() / "tern_base_test.bin";
    {
        std::ofstream out(path, std::ios::binary);
        out << "twelve bytes";
    }
    for (const bool map : {true, false}) {
        const base::MappedFile f = map ? base::MappedFile::map(path) : base::MappedFile::read(path);
        ASSERT_EQ(f.bytes().size(), 12u);
        EXPECT_EQ(static_cast<char>(f.bytes()[3]), 'l');
        EXPECT_EQ(f.mapped(), map);
    }
    std::ofstream(path, std::ios::trunc).close();
    EXPECT_TRUE(base::MappedFile::map(path).bytes().empty());
    EXPECT_TRUE(base::MappedFile::read(path).bytes().empty());
    std::filesystem::remove(path);
    EXPECT_EQ(code_of([&] { base::MappedFile::map(path); }), ErrorCode::not_found);
    EXPECT_EQ(code_of([] { base::MappedFile::map(std::filesystem::temp_directory_path()); }), ErrorCode::io);
    EXPECT_EQ(code_of([] { base::MappedFile::read("/dev/null"); }), ErrorCode::io);
}

std::uint64_t locked_kib() {
    std::ifstream in("/proc/self/status");
    for (std::string key; in >> key; in.ignore(256, '\n')) {
        std::uint64_t kib = 0;
        if (key == "VmLck:" && in >> kib) return kib;
    }
    return 0;
}

// In a process of its own, which gives up root's right to lock what it likes.
TEST(Memory, LocksUpToTheLimitAndSaysWhatTheLimitIs) {
    if (test::kSanitized) GTEST_SKIP() << "the sanitizers turn mlock into nothing";
    constexpr rlim_t kLimit = 256 << 10;
    rlimit now{};
    ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &now), 0);
    if (now.rlim_max < kLimit) GTEST_SKIP() << "this process may lock " << now.rlim_max << " bytes";
    const pid_t child = fork();
    if (child == 0) {
        const rlimit limit{kLimit, kLimit};
        if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || (geteuid() == 0 && setuid(65534) != 0)) _exit(2);
        const base::AlignedBuffer small(128 << 10, "a test"), large(512 << 10, "a test");
        base::lock_memory({small.data(), small.size()}, "'small.gguf'");
        if (locked_kib() != 128) _exit(3);
        try {
            base::lock_memory({large.data(), large.size()}, "'large.gguf'");
        } catch (const Error& e) {
            const std::string text = e.what();
            for (const char* part : {"'large.gguf'", "524288", "262144", "ulimit -l"})
                if (text.find(part) == text.npos) _exit(4);
            _exit(e.code() == ErrorCode::out_of_memory ? 0 : 5);
        }
        _exit(6);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Memory, LockRefusesWhatTheMachineDoesNotHave) {
    const std::byte* nowhere = nullptr;
    EXPECT_EQ(code_of([&] { base::lock_memory({nowhere, std::size_t{1} << 60}, "a test"); }), ErrorCode::out_of_memory);
}

TEST(Memory, IsPlausible) { EXPECT_GT(base::available_memory(), 1u << 20); }

}  // namespace
}  // namespace tern
