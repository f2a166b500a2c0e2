// What Writer accepts, and what remains on disk when it fails.
#include <sys/resource.h>

#include <csignal>
#include <functional>

#include "raw_file.h"
#include "tests/support/reference_data.h"
#include "touch.h"

namespace tern::test {
namespace {

using gguf::File;
using gguf::Writer;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(Writer, WritesWhatTheReaderReads) {
    const std::string data = pattern(68);
    Writer w(64);
    w.add_string("general.architecture", "tiny");
    w.add_u32("u32", 7);
    w.add_u64("u64", 1ull << 40);
    w.add_i32("i32", -7);
    w.add_f32("f32", 0.5f);
    w.add_bool("bool", true);
    w.add_strings("strings", std::vector<std::string>{"a", "", "b c"});
    w.add_f32s("f32s", std::vector<float>{1, -2});
    w.add_i32s("i32s", std::vector<std::int32_t>{-1, 2, 3});
    w.add_tensor("x.weight", DType::Q8_0, std::vector<std::uint64_t>{32, 2}, bytes_of(data));
    w.add_tensor("y.weight", DType::F32, std::vector<std::uint64_t>{1, 1, 1, 17}, bytes_of(data));
    const TemporaryFolder folder;
    w.write(folder / "out.gguf");
    const std::vector<std::byte> in_memory = w.to_bytes();
    EXPECT_EQ(read_file(folder / "out.gguf"), std::string(reinterpret_cast<const char*>(in_memory.data()), in_memory.size()));
    EXPECT_EQ(folder.files(), 1u);

    const File f = File::open(folder / "out.gguf");
    EXPECT_EQ(f.version(), 3u);
    EXPECT_EQ(f.alignment(), 64u);
    EXPECT_EQ(f.get("general.architecture").as_string(), "tiny");
    EXPECT_EQ(f.get("u32").as_u32(), 7u);
    EXPECT_EQ(f.get("u64").as_u64(), 1ull << 40);
    EXPECT_EQ(f.get("i32").as_i64(), -7);
    EXPECT_EQ(f.get("f32").as_float(), 0.5);
    EXPECT_TRUE(f.get("bool").as_bool());
    EXPECT_EQ(f.get("strings").as_strings(), (std::vector<std::string_view>{"a", "", "b c"}));
    EXPECT_EQ(f.get("f32s").as_floats(), (std::vector<float>{1, -2}));
    EXPECT_EQ(f.get("i32s").as_integers(), (std::vector<std::int64_t>{-1, 2, 3}));
    EXPECT_EQ(f.get_tensor("y.weight").file_offset % 64, 0u);
    EXPECT_EQ(f.get_tensor("y.weight").rank, 4u);
    EXPECT_EQ(std::memcmp(f.get_tensor("y.weight").data, data.data(), 68), 0);
    EXPECT_EQ(f.total_bytes() % 64, 0u);
}

TEST(Writer, AnEmptyFileIsAFile) {
    const std::vector<std::byte> bytes = Writer().to_bytes();
    const File f = File::parse(bytes, "empty");
    EXPECT_TRUE(f.metadata().empty());
    EXPECT_TRUE(f.tensors().empty());
    EXPECT_EQ(f.alignment(), 32u);
}

TEST(Writer, RefusesWhatTheReaderWould) {
    const auto refused = [](const std::function<void()>& call, const std::vector<std::string>& needles) {
        expect_error(call, ErrorCode::invalid_argument, needles);
    };
    for (const std::uint64_t alignment : {0ull, 1ull, 4ull, 24ull, 1ull << 21, 1ull << 40})
        refused([&] { Writer bad(alignment); }, {std::to_string(alignment)});
    Writer w;
    w.add_u32("k", 1);
    refused([&] { w.add_i32("k", 1); }, {"'k'", "before"});
    refused([&] { w.add_u32("", 1); }, {"0 bytes"});
    refused([&] { w.add_u32(std::string(65536, 'k'), 1); }, {"65536"});
    refused([&] { w.add_u32("general.alignment", 64); }, {"general.alignment", "32"});
    refused([&] { w.add_u64("general.alignment", 32); }, {"general.alignment"});
    refused([&] { w.add_strings("general.alignment", {}); }, {"general.alignment"});
    refused([&] { w.add(gguf::Value()); }, {"0 bytes"});
    w.add_u32("general.alignment", 32);

    const std::string data(1024, '\0');
    const auto tensor = [&](const std::string& name, DType dtype, std::vector<std::uint64_t> shape, std::size_t size) {
        return [&w, &data, name, dtype, shape, size] { w.add_tensor(name, dtype, shape, bytes_of(data).first(size)); };
    };
    tensor("t", DType::F32, {4}, 16)();
    refused(tensor("t", DType::F32, {4}, 16), {"'t'", "before"});
    refused(tensor("", DType::F32, {4}, 16), {"0 bytes"});
    refused(tensor(std::string(65, 'n'), DType::F32, {4}, 16), {"65"});
    refused(tensor("a", DType::F32, {}, 4), {"'a'", "0 dimensions"});
    refused(tensor("a", DType::F32, {1, 1, 1, 1, 1}, 4), {"'a'", "5 dimensions"});
    refused(tensor("a", DType::F32, {4, 0}, 0), {"'a'", "zero"});
    refused(tensor("a", DType::F32, {1ull << 32, 1ull << 32}, 0), {"'a'", "overflow"});
    refused(tensor("a", DType::F32, {1ull << 31, 1ull << 31}, 0), {"'a'"});
    refused(tensor("a", DType::F32, {4}, 15), {"'a'", "16", "15"});
    refused(tensor("a", DType::Q4_K, {128, 2}, 144), {"'a'", "128", "Q4_K", "256"});
    refused(tensor("a", static_cast<DType>(4), {4}, 16), {"'a'", "id 4"});
    tensor("a", DType::F32, {4}, 16)();  // refusals left nothing behind
    const std::vector<std::byte> bytes = w.to_bytes();
    const File f = File::parse(bytes, "out");
    EXPECT_EQ(f.metadata().size(), 2u);
    EXPECT_EQ(f.tensors().size(), 2u);
}

TEST(Writer, ReplacesAFileThatIsOpen) {
    const TemporaryFolder folder;
    const auto path = folder.write("model.gguf", small_file().bytes());
    const File before = File::open(path);
    Writer w = rewritten(before);
    w.add_u32("added", 1);
    w.write(path);
    EXPECT_EQ(before.find("added"), nullptr);
    EXPECT_EQ(std::memcmp(before.tensors()[0].data, pattern(128).data(), 128), 0);
    const File after = File::open(path);
    EXPECT_NE(after.find("added"), nullptr);
    EXPECT_EQ(folder.files(), 1u);
}

TEST(Writer, FailuresNameThePathAndLeaveNothing) {
    const TemporaryFolder folder;
    Writer w;
    w.add_u32("k", 1);
    expect_error([&] { w.write(folder / "absent/out.gguf"); }, ErrorCode::io, {"absent/out.gguf"});
    std::filesystem::create_directory(folder / "dir");
    expect_error([&] { w.write(folder / "dir"); }, ErrorCode::io, {"dir", "not a regular file"});
    expect_error([&] { w.write("/dev/null"); }, ErrorCode::io, {"/dev/null", "not a regular file"});
    EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
    EXPECT_EQ(folder.files(), 1u);
}

TEST(Writer, AFullDiskLeavesTheOldFile) {
    const TemporaryFolder folder;
    const std::string old = small_file().bytes();
    const auto path = folder.write("model.gguf", old);
    const std::string data(1 << 20, 'x');
    Writer w;
    w.add_tensor("big", DType::F32, std::vector<std::uint64_t>{1 << 18}, bytes_of(data));

    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    rlimit limited = before;
    limited.rlim_cur = 1 << 16;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);
    expect_error([&] { w.write(path); }, ErrorCode::io, {"model.gguf"});
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, handler);

    EXPECT_EQ(read_file(path), old);
    EXPECT_EQ(folder.files(), 1u);
    w.write(path);
    EXPECT_EQ(File::open(path).get_tensor("big").bytes, data.size());
}

}  // namespace
}  // namespace tern::test
