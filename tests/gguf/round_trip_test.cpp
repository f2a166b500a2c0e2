// Written by hand, read, written by Writer: the same bytes. And every reference file survives being rewritten.
#include <sys/mman.h>

#include <algorithm>
#include <limits>

#include "raw_file.h"
#include "tests/support/reference_data.h"
#include "touch.h"

namespace tern::test {
namespace {

using gguf::File;
using gguf::OpenOptions;
using gguf::Writer;

std::string text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

RawFile every_type() {
    RawFile f = small_file();
    const std::string eight = pattern(8);
    constexpr std::uint32_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    for (std::uint32_t type = 0; type < 13; ++type) {
        if (type == 9) continue;
        std::string one = eight.substr(0, kSizes[type]), two = eight.substr(8 - kSizes[type]);
        if (type == 7) one = std::string(1, '\0'), two = "\1";
        if (type == 8) one = raw_string(std::string("x\0y", 3)), two = raw_string(std::string(300, 'z'));
        f.entries.push_back(entry("scalar." + std::to_string(type), type, one));
        f.entries.push_back(entry("array." + std::to_string(type), 9, array_payload(type, 3, one + two + one)));
        f.entries.push_back(entry("empty." + std::to_string(type), 9, array_payload(type, 0, "")));
    }
    return f;
}

TEST(RoundTrip, EveryTypeGivesEqualBytes) {
    const HeapCopy copy(every_type().bytes());
    const File file = File::parse(copy.bytes(), "types");
    EXPECT_EQ(text(rewritten(file).to_bytes()), text(copy.bytes()));
}

TEST(RoundTrip, EveryFormatGivesEqualBytes) {
    RawFile f;
    for (const DTypeInfo& format : all_dtypes()) {
        f.tensors.push_back({.name = format.name,
                             .shape = {format.block * 3ull, 5},
                             .type = static_cast<std::uint32_t>(format.dtype),
                             .offset = f.data.size()});
        f.data += pattern(3 * 5 * format.block_bytes);
        if (const std::size_t rest = f.data.size() % 32) f.data.append(32 - rest, '\0');
    }
    const HeapCopy copy(f.bytes());
    const File file = File::parse(copy.bytes(), "formats");
    ASSERT_EQ(file.tensors().size(), all_dtypes().size());
    EXPECT_EQ(text(rewritten(file).to_bytes()), text(copy.bytes()));
}

TEST(RoundTrip, OtherAlignments) {
    for (const std::uint32_t alignment : {8u, 16u, 32u, 64u, 4096u, 1u << 20}) {
        SCOPED_TRACE(alignment);
        RawFile f = small_file();
        f.alignment = alignment;
        f.entries.insert(f.entries.begin() + 1, entry("general.alignment", 4, raw(alignment)));
        f.data.clear();
        for (RawTensor& t : f.tensors) {
            t.offset = f.data.size();
            f.data += pattern(t.type == 0 ? t.shape[0] * (t.shape.size() > 2 ? 4 : t.shape[1]) * 4 : 68);
            if (const std::size_t rest = f.data.size() % alignment) f.data.append(alignment - rest, '\0');
        }
        const HeapCopy copy(f.bytes());
        const File file = File::parse(copy.bytes(), "aligned");
        EXPECT_EQ(file.alignment(), alignment);
        EXPECT_EQ(text(rewritten(file).to_bytes()), text(copy.bytes()));
    }
}

TEST(RoundTrip, Version2ReadsAsVersion3) {
    RawFile f = every_type();
    const std::string three = f.bytes();
    f.version = 2;
    const HeapCopy copy(f.bytes());
    const File file = File::parse(copy.bytes(), "v2");
    EXPECT_EQ(file.version(), 2u);
    EXPECT_EQ(text(rewritten(file).to_bytes()), three);
}

TEST(Reader, ShapesOffsetsAndData) {
    const RawFile raw_file = small_file();
    const HeapCopy copy(raw_file.bytes());
    const File file = File::parse(copy.bytes(), "small");
    EXPECT_EQ(file.name(), "small");
    EXPECT_EQ(file.splits(), 1u);
    EXPECT_EQ(file.total_bytes(), copy.bytes().size());
    const gguf::Tensor& b = file.get_tensor("b.weight");
    EXPECT_EQ(b.dtype, DType::Q8_0);
    EXPECT_EQ(b.rank, 2u);
    EXPECT_EQ(b.shape[0], 32u);
    EXPECT_EQ(b.shape[1], 2u);
    EXPECT_EQ(b.shape[3], 1u);
    EXPECT_EQ(b.bytes, 68u);
    EXPECT_EQ(b.rows(), 2u);
    EXPECT_EQ(b.file_offset, copy.bytes().size() - 256 + 128);
    EXPECT_EQ(b.data, copy.bytes().data() + b.file_offset);
    EXPECT_EQ(std::memcmp(b.data, raw_file.data.data() + 128, 68), 0);
}

TEST(Reader, TensorsMayLieInAnyOrderWithGapsAndATail) {
    RawFile f = small_file();
    f.tensors[0].offset = 512;
    f.tensors[2].offset = 0;
    f.data = pattern(512 + 128 + 1000);
    const HeapCopy copy(f.bytes());
    const File file = File::parse(copy.bytes(), "gaps");
    EXPECT_EQ(std::memcmp(file.get_tensor("a.weight").data, f.data.data() + 512, 128), 0);
    EXPECT_EQ(std::memcmp(file.get_tensor("c.weight").data, f.data.data(), 32), 0);
}

TEST(RoundTrip, PaddingIsNotContent) {
    RawFile f = small_file();
    const std::string zeros = f.bytes();
    std::fill(f.data.begin() + 196, f.data.begin() + 224, '\xaa');
    const HeapCopy copy(f.bytes());
    EXPECT_EQ(text(rewritten(File::parse(copy.bytes(), "dirty")).to_bytes()), zeros);
}

TEST(Reader, TheLastPaddingMayBeMissing) {
    RawFile f = small_file();
    f.tensors.pop_back();
    f.data.resize(128 + 68);
    const HeapCopy copy(f.bytes());
    EXPECT_EQ(File::parse(copy.bytes(), "unpadded").tensors().size(), 2u);
    f.data.resize(128 + 67);
    const HeapCopy cut(f.bytes());
    expect_error([&] { (void)File::parse(cut.bytes(), "cut"); }, ErrorCode::bad_file, {"'b.weight'"});
}

TEST(Reader, LongestNamesAreAllowed) {
    RawFile f = small_file();
    f.entries.push_back(entry(std::string(gguf::kMaxKeyBytes, 'k'), 0, "\1"));
    f.tensors[0].name = std::string(gguf::kMaxNameBytes, 'n');
    const HeapCopy copy(f.bytes());
    const File file = File::parse(copy.bytes(), "long");
    EXPECT_NE(file.find(std::string(gguf::kMaxKeyBytes, 'k')), nullptr);
    EXPECT_NE(file.find_tensor(std::string(gguf::kMaxNameBytes, 'n')), nullptr);
}

TEST(Reader, WithoutDataACutFileOpens) {
    const RawFile raw_file = small_file();
    const std::string header = raw_file.header();
    const std::string bytes = raw_file.bytes();
    for (const std::size_t size : {header.size(), header.size() + 1, bytes.size() - 1, bytes.size()}) {
        const HeapCopy copy(bytes.substr(0, size));
        const File file = File::parse(copy.bytes(), "cut", {.need_data = false});
        ASSERT_EQ(file.tensors().size(), 3u);
        EXPECT_EQ(file.get_tensor("b.weight").bytes, 68u);
        for (const gguf::Tensor& t : file.tensors()) EXPECT_EQ(t.data, nullptr);
    }
    RawFile overlap = small_file();
    overlap.tensors[1].offset = 96;
    const HeapCopy copy(overlap.header());
    expect_error([&] { (void)File::parse(copy.bytes(), "overlap", {.need_data = false}); }, ErrorCode::bad_file,
                 {"overlap"});
}

TEST(Reader, MovesKeepTheView) {
    const HeapCopy copy(small_file().bytes());
    File a = File::parse(copy.bytes(), "a");
    const gguf::Tensor* tensor = a.find_tensor("c.weight");
    File b = std::move(a);
    EXPECT_EQ(b.find_tensor("c.weight"), tensor);
    a = std::move(b);
    EXPECT_EQ(a.find_tensor("c.weight"), tensor);
    EXPECT_EQ(a.get("tiny.block_count").as_u32(), 2u);
}

TEST(Reader, PathsThatCannotBeRead) {
    const TemporaryFolder folder;
    expect_error([&] { (void)File::open(folder / "absent.gguf"); }, ErrorCode::not_found, {"absent.gguf"});
    std::filesystem::create_directory(folder / "dir.gguf");
    expect_error([&] { (void)File::open(folder / "dir.gguf"); }, ErrorCode::io, {"dir.gguf"});
    const auto empty = folder.write("empty.gguf", "");
    expect_error([&] { (void)File::open(empty); }, ErrorCode::bad_file, {"empty.gguf", "empty"});
}

// A 5 GB file: opening reads the directory and nothing of the weights.
TEST(Reader, OpeningALargeFileTouchesOnlyItsHead) {
    const TemporaryFolder folder;
    RawFile f = small_file();
    constexpr std::uint64_t kSize = 5'000'000'512;
    f.tensors = {{.name = "big", .shape = {kSize / 4 / 64, 64}}};
    f.data.clear();
    const auto path = folder.write("big.gguf", f.bytes());
    std::error_code failed;
    std::filesystem::resize_file(path, f.bytes().size() + kSize, failed);
    if (failed) GTEST_SKIP() << "no room for a sparse file of 5 GB: " << failed.message();

    const File file = File::open(path);
    EXPECT_EQ(file.get_tensor("big").bytes, kSize);
    std::vector<unsigned char> resident(file.total_bytes() / 4096 + 1);
    const std::byte* begin = file.get_tensor("big").data - file.get_tensor("big").file_offset;
    ASSERT_EQ(::mincore(const_cast<std::byte*>(begin), file.total_bytes(), resident.data()), 0);
    EXPECT_LT(std::count_if(resident.begin(), resident.end(), [](unsigned char r) { return r & 1; }), 1024);
    EXPECT_EQ(std::to_integer<int>(file.get_tensor("big").data[kSize - 1]), 0);
}

TEST(Reference, EveryFileOpensAndSurvivesRewriting) {
    TERN_REFERENCE(root, "");
    const TemporaryFolder folder;
    int files = 0;
    for (const auto& item : std::filesystem::recursive_directory_iterator(root)) {
        if (item.path().extension() != ".gguf") continue;
        SCOPED_TRACE(item.path().string());
        ++files;
        const File mapped = File::open(item.path());
        EXPECT_EQ(mapped.version(), 3u);
        EXPECT_FALSE(mapped.get("general.architecture").as_string().empty());
        (void)touch(mapped);
        EXPECT_EQ(difference(mapped, File::open(item.path(), {.map = false})), "");
        const auto copy = folder / "copy.gguf";
        rewritten(mapped).write(copy);
        EXPECT_EQ(difference(mapped, File::open(copy)), "");
    }
    EXPECT_GE(files, 40);
}

}  // namespace
}  // namespace tern::test
