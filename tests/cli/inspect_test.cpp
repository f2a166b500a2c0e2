// tern inspect: the directory of a file, never its data.
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/tiny_model.h"

namespace tern::test {
namespace {

using Json = nlohmann::ordered_json;

class Inspect : public CommandTest {};

TEST_F(Inspect, JsonIsTheFile) {
    tiny_model().write(path("m.gguf"));
    const Outcome o = tern({"inspect", "--json", path("m.gguf")});
    ASSERT_TRUE(done(o));
    const Json j = Json::parse(o.out);
    const auto file = gguf::File::open(path("m.gguf"));
    EXPECT_EQ(j["file"], path("m.gguf"));
    EXPECT_EQ(j["version"], 3);
    EXPECT_EQ(j["bytes"], tiny_model().bytes().size());
    EXPECT_EQ(j["splits"], 1);
    EXPECT_TRUE(j["warnings"].is_array());
    ASSERT_EQ(j["tensors"].size(), file.tensors().size());
    std::uint64_t parameters = 0;
    for (std::size_t i = 0; i < file.tensors().size(); ++i) {
        const gguf::Tensor& t = file.tensors()[i];
        const Json& got = j["tensors"][i];
        EXPECT_EQ(got["name"], std::string(t.name));
        EXPECT_EQ(got["format"], to_string(t.dtype));
        EXPECT_EQ(got["shape"], (std::vector<std::uint64_t>(t.shape, t.shape + t.rank)));
        EXPECT_EQ(got["bytes"], t.bytes);
        EXPECT_EQ(got["offset"], t.file_offset);
        parameters += t.elements();
    }
    EXPECT_EQ(j["parameters"], parameters);
    EXPECT_EQ(j["metadata"]["general.architecture"], "llama");
    EXPECT_EQ(j["metadata"]["llama.context_length"], kTinyContext);
    EXPECT_EQ(j["metadata"]["llama.attention.layer_norm_rms_epsilon"].dump(), "1e-05");
    // Arrays are cut unless all is asked for.
    EXPECT_EQ(j["metadata"]["tokenizer.ggml.tokens"]["count"], kTinyVocabulary);
    const Json full = Json::parse(tern({"inspect", "--json", "--full", path("m.gguf")}).out);
    EXPECT_EQ(full["metadata"]["tokenizer.ggml.tokens"].size(), kTinyVocabulary);
}

TEST_F(Inspect, TextNamesEverything) {
    tiny_model().write(path("m.gguf"));
    const Outcome o = tern({"inspect", path("m.gguf")});
    ASSERT_TRUE(done(o));
    for (const char* part : {"GGUF version 3", "llama.context_length", "blk.1.ffn_down.weight", "Q8_0", "F32"})
        EXPECT_NE(o.out.find(part), std::string::npos) << part;
}

// Five gigabytes whose data nobody wrote: answered at once, and none of it read.
TEST_F(Inspect, AHugeFileIsAnsweredWithoutReadingItsData) {
    constexpr std::uint64_t kCols = 4096, kRows = 655360;  // F16: 5 GiB
    gguf::Writer writer;
    writer.add_string("general.architecture", "llama");
    const std::vector<std::byte> row(kCols * 2);
    const std::uint64_t shape[] = {kCols, 1};
    writer.add_tensor("huge.weight", DType::F16, shape, row);
    std::vector<std::byte> header = writer.to_bytes();
    // After the name stand the rank (4 bytes) and the shape (8 bytes each): put the real number of rows there.
    const std::string name = "huge.weight";
    const auto at = std::search(header.begin(), header.end(), name.begin(), name.end(),
                                [](std::byte b, char c) { return b == static_cast<std::byte>(c); });
    ASSERT_NE(at, header.end());
    std::memcpy(&*at + name.size() + 4 + 8, &kRows, sizeof kRows);
    const std::size_t data = header.size() - row.size();
    const std::string file = path("huge.gguf");
    std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(header.data()), static_cast<std::streamsize>(data));
    const std::uint64_t size = data + kRows * kCols * 2;
    struct stat info {};
    if (truncate(file.c_str(), static_cast<off_t>(size)) != 0 || stat(file.c_str(), &info) != 0 ||
        info.st_blocks * 512 > 16 << 20)
        GTEST_SKIP() << "no sparse files in " << folder_;

    double fastest = 1e9;
    for (int turn = 0; turn < 5; ++turn) {
        const Outcome o = tern({"inspect", "--json", file});
        ASSERT_TRUE(done(o));
        const Json j = Json::parse(o.out);
        EXPECT_EQ(j["tensors"][0]["bytes"], kRows * kCols * 2);
        EXPECT_EQ(j["bytes"], size);
        fastest = std::min(fastest, o.seconds);
#ifndef TERN_SANITIZED  // shadow memory is resident, too
        EXPECT_LT(o.most_resident_kib, 100 * 1024);
#endif
    }
#ifndef TERN_SANITIZED
    EXPECT_LT(fastest, 0.2);
#endif

    // The page cache holds nothing of the data but what surrounds the header.
    const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    void* const map = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) GTEST_SKIP() << "no address space to look at the file";
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    std::vector<unsigned char> resident((size + page - 1) / page);
    ASSERT_EQ(mincore(map, size, resident.data()), 0);
    munmap(map, size);
    const auto pages = static_cast<std::size_t>(
        std::count_if(resident.begin(), resident.end(), [](unsigned char c) { return (c & 1) != 0; }));
    EXPECT_LT(pages * page, std::size_t{8} << 20) << "inspect read the data";
}

}  // namespace
}  // namespace tern::test
