// Sets of files: NAME-00001-of-00003.gguf.
#include <functional>

#include "raw_file.h"
#include "tests/support/reference_data.h"
#include "touch.h"

namespace tern::test {
namespace {

using gguf::File;

std::string number_entry(std::uint16_t number) { return entry("split.no", 2, raw(number)); }
std::string count_entry(std::uint16_t count) { return entry("split.count", 2, raw(count)); }
std::string total_entry(std::int32_t total) { return entry("split.tensors.count", 5, raw(total)); }

// As the usual tool writes them: metadata in the first file, the split keys in all; here the first has no tensors.
std::vector<RawFile> three() {
    std::vector<RawFile> set(3);
    set[0].entries = {entry("general.architecture", 8, raw_string("tiny")), number_entry(0), count_entry(3),
                      total_entry(3)};
    set[1].entries = {number_entry(1), count_entry(3), total_entry(3)};
    set[1].tensors = {{.name = "a", .shape = {8, 4}, .offset = 0}, {.name = "b", .shape = {8}, .offset = 128}};
    set[1].data = pattern(160);
    set[2].entries = {number_entry(2), count_entry(3), total_entry(3)};
    set[2].tensors = {{.name = "c", .shape = {32, 1}, .type = 8, .offset = 0}};
    set[2].data = pattern(34);
    return set;
}

std::string part_name(int number) { return "m-0000" + std::to_string(number) + "-of-00003.gguf"; }

class Split : public testing::Test {
protected:
    Split() { write(three()); }
    void write(const std::vector<RawFile>& set) {
        for (int i = 0; i < 3; ++i) folder.write(part_name(i + 1), set[static_cast<std::size_t>(i)].bytes());
    }
    void edit(const std::function<void(std::vector<RawFile>&)>& change) {
        std::vector<RawFile> set = three();
        change(set);
        write(set);
    }
    File open(int named = 1) const { return File::open(folder / part_name(named)); }
    void expect(ErrorCode code, const std::vector<std::string>& needles, int named = 1) const {
        expect_error([&] { (void)open(named); }, code, needles);
    }
    TemporaryFolder folder;
};

TEST_F(Split, AnyFileOpensTheWholeSet) {
    for (int named = 1; named <= 3; ++named) {
        for (const bool map : {true, false}) {
            const File f = File::open(folder / part_name(named), {.map = map});
            EXPECT_EQ(f.splits(), 3u);
            EXPECT_EQ(f.name(), (folder / part_name(1)).string());
            EXPECT_EQ(f.get("general.architecture").as_string(), "tiny");
            EXPECT_EQ(f.metadata().size(), 1u);  // the set reads as one file
            ASSERT_EQ(f.tensors().size(), 3u);
            EXPECT_EQ(f.get_tensor("b").split, 1u);
            EXPECT_EQ(f.get_tensor("c").split, 2u);
            EXPECT_EQ(std::memcmp(f.get_tensor("b").data, pattern(160).data() + 128, 32), 0);
            EXPECT_EQ(std::memcmp(f.get_tensor("c").data, pattern(34).data(), 34), 0);
            EXPECT_EQ(f.total_bytes(), three()[0].bytes().size() + three()[1].bytes().size() + three()[2].bytes().size());
            (void)touch(f);
        }
    }
}

TEST_F(Split, CanBeWrittenAsOneFile) {
    const File set = open(2);
    rewritten(set).write(folder / "one.gguf");
    const File one = File::open(folder / "one.gguf");
    EXPECT_EQ(one.splits(), 1u);
    EXPECT_EQ(difference(set, one), "");
}

TEST_F(Split, PartsMayHaveAlignmentsOfTheirOwn) {
    edit([](auto& set) {
        set[2].entries.push_back(entry("general.alignment", 4, raw(64u)));
        set[2].alignment = 64;
    });
    EXPECT_EQ(std::memcmp(open().get_tensor("c").data, pattern(34).data(), 34), 0);
}

TEST_F(Split, AMissingFileIsNamed) {
    std::filesystem::remove(folder / part_name(2));
    expect(ErrorCode::not_found, {part_name(1), part_name(2), "missing", "file 1 of a set of 3"});
    expect(ErrorCode::not_found, {part_name(3), part_name(2), "missing", "file 3 of a set of 3"}, 3);
}

TEST_F(Split, ForeignFilesAreNamed) {
    edit([](auto& set) { set[1].entries[1] = count_entry(4); });
    expect(ErrorCode::bad_file, {part_name(2), "does not belong", "split.count", "4", "3"});
    edit([](auto& set) { set[1].entries[0] = number_entry(2); });
    expect(ErrorCode::bad_file, {part_name(2), "does not belong", "split.no", "2", "1"});
    edit([](auto& set) { set[2].entries[2] = total_entry(7); });
    expect(ErrorCode::bad_file, {part_name(3), "does not belong", "split.tensors.count", "7", "3"});
    edit([](auto& set) { set[2].entries.clear(); });
    expect(ErrorCode::bad_file, {part_name(3), "does not belong", "split.count"});
    edit([](auto& set) { set[2].entries.push_back(entry("general.architecture", 8, raw_string("other"))); });
    for (int named = 1; named <= 3; ++named)  // file 2 has no architecture to compare with
        expect(ErrorCode::bad_file, {part_name(3), "does not belong", "general.architecture", "other", "tiny"}, named);
}

TEST_F(Split, HostileSplitKeys) {
    const std::string one = part_name(1);
    edit([](auto& set) { set[0].entries[1] = number_entry(3); });
    expect(ErrorCode::bad_file, {one, "split.no", "3"});
    edit([](auto& set) { set[0].entries[1] = entry("split.no", 5, raw(-1)); });
    expect(ErrorCode::bad_file, {one, "split.no", "-1"});
    edit([](auto& set) { set[0].entries.erase(set[0].entries.begin() + 1); });
    expect(ErrorCode::bad_file, {one, "split.no", "absent"});
    edit([](auto& set) { set[0].entries[2] = entry("split.count", 8, raw_string("3")); });
    expect(ErrorCode::bad_file, {one, "split.count", "string"});
    edit([](auto& set) { set[0].entries[2] = entry("split.count", 10, raw<std::uint64_t>(1ull << 60)); });
    expect(ErrorCode::bad_file, {one, "split.count", "1152921504606846976", "65535"});
    edit([](auto& set) { set[0].entries[2] = count_entry(65535); });
    expect(ErrorCode::bad_file, {one, "-00001-of-65535.gguf"});
    edit([](auto& set) { set[0].entries[3] = total_entry(-1); });
    expect(ErrorCode::bad_file, {one, "split.tensors.count", "-1"});
    edit([](auto& set) {
        for (RawFile& f : set) f.entries.back() = total_entry(4);
    });
    expect(ErrorCode::bad_file, {"split.tensors.count", "3", "4"});
    edit([](auto& set) { set[2].entries.push_back(set[2].entries[0]); });
    expect(ErrorCode::bad_file, {part_name(3), "split.no", "twice"});
    edit([](auto& set) { set[2].tensors[0].name = "a"; });
    expect(ErrorCode::bad_file, {part_name(3), "'a'", "twice"});
    edit([](auto& set) { set[2].data.pop_back(); });
    expect(ErrorCode::bad_file, {part_name(3), "'c'"});
}

TEST_F(Split, ARenamedFileIsExplained) {
    const auto path = folder.write("other.gguf", three()[1].bytes());
    expect_error([&] { (void)File::open(path); }, ErrorCode::bad_file,
                 {"other.gguf", "file 2 of a set of 3", "-00002-of-00003.gguf"});
}

TEST_F(Split, OnePartFromMemoryIsRefused) {
    const HeapCopy copy(three()[0].bytes());
    expect_error([&] { (void)File::parse(copy.bytes(), "part"); }, ErrorCode::unsupported, {"'part'", "3", "path"});
}

TEST_F(Split, ASetOfOneIsAFile) {
    RawFile f = small_file();
    f.entries.push_back(number_entry(0));
    f.entries.push_back(count_entry(1));
    EXPECT_EQ(File::open(folder.write("single.gguf", f.bytes())).tensors().size(), 3u);
}

}  // namespace
}  // namespace tern::test
