// Every class of broken or malicious file: refused with an Error that names the place, without a large
// allocation.
#include <atomic>
#include <cstdlib>
#include <functional>
#include <limits>
#include <new>

#include "raw_file.h"
#include "touch.h"

namespace {
std::atomic<std::size_t> largest_allocation{0};
}

// The whole program's plain allocations pass here, so that a test can see the largest. Not inlined: GCC would see
// free() meet the standard's operator new.
[[gnu::noinline]] void* operator new(std::size_t size) {
    std::size_t seen = largest_allocation.load();
    while (size > seen && !largest_allocation.compare_exchange_weak(seen, size)) {
    }
    if (void* p = std::malloc(size ? size : 1)) return p;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
    std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept {
    std::free(p);
}

namespace tern::test {
namespace {

using gguf::File;

constexpr std::size_t kSmall = 64 * 1024;  // no file of this test justifies an allocation beyond it

struct Case {
    std::string name;
    std::string bytes;
    std::vector<std::string> needles;
    ErrorCode code = ErrorCode::bad_file;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::string edited(const std::function<void(RawFile&)>& edit) {
    RawFile f = small_file();
    edit(f);
    return f.bytes();
}

std::string with_entry(const std::string& e) {
    return edited([&](RawFile& f) { f.entries.push_back(e); });
}

// The offset at which the next entry of small_file() would begin.
std::uint64_t next_entry() {
    RawFile f = small_file();
    f.tensors.clear();
    return f.header().size();
}

std::string with_tensor(const std::function<void(RawTensor&)>& edit) {
    return edited([&](RawFile& f) { edit(f.tensors[0]); });
}

std::string at(std::uint64_t offset) {
    return "offset " + std::to_string(offset);
}

constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();

std::vector<Case> cases() {
    const std::uint64_t key = next_entry();
    // Offsets of the first tensor's fields: length, name (8 bytes), rank, two dimensions, type, data offset.
    const std::uint64_t tensor = key, rank = tensor + 16, dim0 = rank + 4, dim1 = dim0 + 8, type = dim1 + 8,
                        data_offset = type + 4;
    std::vector<Case> c;

    // String length past the end (CVE-2024-23496).
    c.push_back({"value string past the end",
                 with_entry(entry("k", 8, raw_string("x", 1u << 30))),
                 {at(key + 13), "'k'", "1073741824"}});
    c.push_back(
        {"value string of 2^64-1", with_entry(entry("k", 8, raw_string("x", kHuge))), {at(key + 13), "'k'"}});
    c.push_back({"value string of 2^63",
                 with_entry(entry("k", 8, raw_string("x", 1ull << 63))),
                 {at(key + 13), "'k'"}});
    c.push_back(
        {"key past the end", with_entry(raw_string("k", 60000) + raw(4u) + raw(1u)), {at(key), "60000"}});
    c.push_back({"key of 2^64-1", with_entry(raw_string("k", kHuge) + raw(4u) + raw(1u)), {at(key)}});
    c.push_back({"array string past the end",
                 with_entry(entry("k", 9, array_payload(8, 2, raw_string("a") + raw_string("b", kHuge - 7)))),
                 {at(key + 13 + 12 + 9), "'k'"}});
    c.push_back({"tensor name past the end",
                 edited([](RawFile& f) {
                     f.tensors.clear();
                     f.data = raw_string("n", 60) + std::string(40, 'x');
                     f.tensor_count = 1;
                     f.alignment = 1;
                 }),
                 {at(key), "tensor 0", "60"}});

    // Dimension product and byte size overflow (CVE-2024-21802, CVE-2025-53630, CVE-2026-27940).
    c.push_back({"product 2^64",
                 with_tensor([](RawTensor& t) {
                     t.shape = {1ull << 32, 1ull << 32};
                 }),
                 {at(dim1), "'a.weight'", "overflow"}});
    c.push_back({"product 2^63",
                 with_tensor([](RawTensor& t) {
                     t.shape = {1ull << 32, 1ull << 31};
                 }),
                 {at(dim1), "'a.weight'", "overflow"}});
    c.push_back({"product wraps to 8",
                 with_tensor([](RawTensor& t) {
                     t.shape = {8, (1ull << 61) + 1};
                 }),
                 {at(dim1), "'a.weight'", "overflow"}});
    c.push_back({"dimension of 2^64-1",
                 with_tensor([](RawTensor& t) {
                     t.shape = {kHuge, 1};
                 }),
                 {at(dim0), "'a.weight'", "overflow"}});
    c.push_back({"bytes wrap to 0",
                 with_tensor([](RawTensor& t) {
                     t.shape = {1ull << 31, 1ull << 31};
                 }),
                 {at(type), "'a.weight'", "overflow"}});
    c.push_back({"bytes of 2^63",
                 with_tensor([](RawTensor& t) {
                     t.shape = {1ull << 30, 1ull << 31};
                 }),
                 {at(type), "'a.weight'", "overflow"}});
    c.push_back({"offset and size wrap",
                 edited([](RawFile& f) {
                     f.tensors[0].shape = {8, (1ull << 57)};
                     f.tensors[0].offset = kHuge - 31;
                 }),
                 {"'a.weight'", "overflow"}});

    // Counts larger than the file (CVE-2024-21825, CVE-2024-21836, CVE-2024-23605).
    for (const std::uint64_t n :
         {std::uint64_t{100}, std::uint64_t{1} << 20, std::uint64_t{1} << 40, kHuge / 2}) {
        const auto count = static_cast<std::int64_t>(n);
        const std::string text = std::to_string(n);
        c.push_back(
            {"keys " + text, edited([&](RawFile& f) { f.key_count = count; }), {at(16), text, "keys"}});
        c.push_back({"tensors " + text,
                     edited([&](RawFile& f) { f.tensor_count = count; }),
                     {at(8), text, "tensors"}});
    }
    for (const std::uint32_t element : {0u, 2u, 4u, 7u, 8u, 10u, 12u}) {
        for (const std::uint64_t n :
             {std::uint64_t{2000}, std::uint64_t{1} << 27, std::uint64_t{1} << 61, kHuge})
            c.push_back({"array of type " + std::to_string(element) + ", " + std::to_string(n),
                         with_entry(entry("k", 9, array_payload(element, n, "x"))),
                         {at(key + 17), "'k'", std::to_string(n)}});
    }
    c.push_back({"one key too many", edited([](RawFile& f) { f.key_count = 8; }), {"tensor 0"}});
    c.push_back({"one tensor too many", edited([](RawFile& f) { f.tensor_count = 4; }), {"tensor 3"}});

    // Negative or unknown type ids.
    for (const std::uint32_t id : {13u, 14u, 255u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
        const std::string text = std::to_string(static_cast<std::int32_t>(id));
        c.push_back({"value type " + text,
                     with_entry(entry("k", id, raw<std::uint64_t>(0))),
                     {at(key + 9), "'k'", "unknown type " + text}});
        c.push_back({"element type " + text,
                     with_entry(entry("k", 9, array_payload(id, 1, raw<std::uint64_t>(0)))),
                     {at(key + 13), "'k'", "unknown element type " + text}});
    }
    for (const std::uint32_t id : {0x80000000u, 0xffffffffu})
        c.push_back({"negative format",
                     with_tensor([&](RawTensor& t) { t.type = id; }),
                     {at(type), "'a.weight'", "negative", std::to_string(static_cast<std::int32_t>(id))}});
    for (const std::uint32_t id : {43u, 100u, 255u, 256u, 65536u, 0x7fffffffu})
        c.push_back({"unknown format",
                     with_tensor([&](RawTensor& t) { t.type = id; }),
                     {at(type), "'a.weight'", "id " + std::to_string(id)},
                     ErrorCode::unsupported});
    const std::vector<std::pair<std::uint32_t, std::string>> retired = {
        {4, "Q4_2"}, {5, "Q4_3"}, {31, "Q4_0_4_4"}, {32, "Q4_0_4_8"}, {33, "Q4_0_8_8"}, {36, "IQ4_NL_4_4"}};
    for (const auto& [id, name] : retired)
        c.push_back({"retired format",
                     with_tensor([&, i = id](RawTensor& t) { t.type = i; }),
                     {at(type), "'a.weight'", name, "id " + std::to_string(id), "retired"},
                     ErrorCode::unsupported});
    c.push_back({"format I32",
                 with_tensor([](RawTensor& t) { t.type = 26; }),
                 {"I32", "id 26"},
                 ErrorCode::unsupported});

    // Alignment zero, no power of two, out of range, of the wrong type (CVE-2025-0317).
    for (const std::uint32_t n : {0u, 1u, 2u, 4u, 7u, 24u, 33u, 48u, 1u << 21, 1u << 31, 0xffffffffu})
        c.push_back({"alignment " + std::to_string(n),
                     with_entry(entry("general.alignment", 4, raw(n))),
                     {at(key + 29), "general.alignment", std::to_string(n)}});
    c.push_back(
        {"alignment i32", with_entry(entry("general.alignment", 5, raw(32))), {"general.alignment", "i32"}});
    c.push_back({"alignment u64",
                 with_entry(entry("general.alignment", 10, raw<std::uint64_t>(32))),
                 {"general.alignment", "u64"}});
    c.push_back({"alignment string",
                 with_entry(entry("general.alignment", 8, raw_string("32"))),
                 {"general.alignment", "string"}});
    c.push_back({"alignment array",
                 with_entry(entry("general.alignment", 9, array_payload(4, 1, raw(32u)))),
                 {"general.alignment", "array"}});
    c.push_back({"alignment empty array",
                 with_entry(entry("general.alignment", 9, array_payload(4, 0, ""))),
                 {"general.alignment", "array"}});

    // Zero dimensions and impossible ranks.
    c.push_back({"dimension 0 zero",
                 with_tensor([](RawTensor& t) {
                     t.shape = {0, 4};
                 }),
                 {at(dim0), "'a.weight'", "zero"}});
    c.push_back({"dimension 1 zero",
                 with_tensor([](RawTensor& t) {
                     t.shape = {8, 0};
                 }),
                 {at(dim1), "'a.weight'", "zero"}});
    c.push_back({"rank 0",
                 with_tensor([](RawTensor& t) { t.shape = {}; }),
                 {at(rank), "'a.weight'", "0 dimensions"}});
    c.push_back({"rank 5",
                 with_tensor([](RawTensor& t) {
                     t.shape = {1, 1, 1, 1, 1};
                 }),
                 {at(rank), "'a.weight'", "5 dimensions"}});
    c.push_back({"rank 2^32-1",
                 with_tensor([](RawTensor& t) { t.rank = 0xffffffff; }),
                 {at(rank), "'a.weight'", "4294967295 dimensions"}});

    // Duplicates.
    c.push_back(
        {"duplicate key", with_entry(entry("tiny.flag", 4, raw(1u))), {at(key + 8), "'tiny.flag'", "twice"}});
    c.push_back({"duplicate alignment",
                 edited([](RawFile& f) {
                     for (int i = 0; i < 2; ++i) f.entries.push_back(entry("general.alignment", 4, raw(32u)));
                 }),
                 {"'general.alignment'", "twice"}});
    c.push_back({"duplicate tensor",
                 edited([](RawFile& f) { f.tensors[1].name = "a.weight"; }),
                 {"'a.weight'", "twice"}});

    // Tensor data out of the file, misaligned or overlapping (CVE-2026-7482).
    c.push_back(
        {"data one byte short", edited([](RawFile& f) { f.data.pop_back(); }), {"'c.weight'", "255 bytes"}});
    c.back().needles[1] = "the file has " + std::to_string(c.back().bytes.size()) + " bytes";
    c.push_back(
        {"offset behind the end", edited([](RawFile& f) { f.tensors[2].offset = 1 << 20; }), {"'c.weight'"}});
    c.push_back(
        {"offset of 2^63", edited([](RawFile& f) { f.tensors[2].offset = 1ull << 63; }), {"'c.weight'"}});
    c.push_back(
        {"offset near 2^64", edited([](RawFile& f) { f.tensors[2].offset = kHuge - 31; }), {"'c.weight'"}});
    c.push_back({"tensor larger than the file",
                 with_tensor([](RawTensor& t) {
                     t.shape = {8, 4096};
                 }),
                 {"'a.weight'"}});
    c.push_back({"offset misaligned",
                 with_tensor([](RawTensor& t) { t.offset = 8; }),
                 {at(data_offset), "'a.weight'", "alignment"}});
    c.push_back({"same offset",
                 edited([](RawFile& f) { f.tensors[2].offset = 0; }),
                 {"'a.weight'", "'c.weight'", "overlap"}});
    c.push_back({"overlap by a part",
                 edited([](RawFile& f) { f.tensors[1].offset = 96; }),
                 {"'a.weight'", "'b.weight'", "overlap"}});
    c.push_back({"one inside the other",
                 edited([](RawFile& f) { f.tensors[2].offset = 64; }),
                 {"'a.weight'", "'c.weight'", "overlap"}});

    // Nested arrays, also deep ones.
    c.push_back({"nested array",
                 with_entry(entry("k", 9, array_payload(9, 1, array_payload(4, 1, raw(1u))))),
                 {at(key + 13), "'k'", "array of arrays"}});
    std::string deep;
    for (int i = 0; i < 1000; ++i) deep = array_payload(9, 1, deep);
    c.push_back({"deep array", with_entry(entry("k", 9, deep)), {at(key + 13), "'k'", "array of arrays"}});

    // Names over the limit, and empty ones.
    c.push_back({"tensor name of 65",
                 with_tensor([](RawTensor& t) { t.name = std::string(65, 'n'); }),
                 {at(tensor), "tensor 0", "65", "64"}});
    c.push_back({"key of 65536",
                 with_entry(entry(std::string(65536, 'k'), 4, raw(1u))),
                 {at(key), "65536", "65535"}});
    c.push_back({"empty tensor name",
                 with_tensor([](RawTensor& t) { t.name.clear(); }),
                 {at(tensor), "tensor 0", "empty"}});
    c.push_back({"empty key", with_entry(entry("", 4, raw(1u))), {at(key), "empty"}});

    // A row that is no multiple of its block; only the row counts, not the product.
    c.push_back({"row of 16 in Q8_0",
                 edited([](RawFile& f) {
                     f.tensors[1].shape = {16, 4};
                 }),
                 {"'b.weight'", "16", "Q8_0", "32"}});
    c.push_back({"row of 128 in Q4_K",
                 edited([](RawFile& f) {
                     f.tensors[1].type = 12;
                     f.tensors[1].shape = {128, 2};
                 }),
                 {"'b.weight'", "128", "Q4_K", "256"}});

    c.push_back({"bool of 2", with_entry(entry("k", 7, std::string(1, '\2'))), {at(key + 13), "'k'", "2"}});
    c.push_back({"bool of 255 in an array",
                 with_entry(entry("k", 9, array_payload(7, 2, std::string("\1\xff")))),
                 {at(key + 26), "'k'", "255"}});

    // Versions and byte order.
    const auto version = [](std::uint32_t v) { return edited([&](RawFile& f) { f.version = v; }); };
    c.push_back({"version 0", version(0), {at(4), "version 0"}});
    c.push_back({"version 1", version(1), {at(4), "version 1"}, ErrorCode::unsupported});
    c.push_back({"version 4", version(4), {at(4), "version 4"}, ErrorCode::unsupported});
    c.push_back(
        {"big-endian 3", version(3u << 24), {at(4), "big-endian", "version 3"}, ErrorCode::unsupported});
    c.push_back(
        {"big-endian 2", version(2u << 24), {at(4), "big-endian", "version 2"}, ErrorCode::unsupported});

    // Not GGUF at all.
    c.push_back({"empty", "", {at(0), "empty"}});
    c.push_back({"one byte", "G", {at(0), "not a GGUF", "'G'", "47"}});
    c.push_back(
        {"safetensors", raw<std::uint64_t>(10) + "{\"a\": 1}  " + "data", {"not a GGUF", "safetensors"}});
    c.push_back({"ggml", "lmgg" + raw(1u), {"not a GGUF", "'lmgg'", "GGML"}});
    c.push_back({"ggjt", "tjgg" + raw(3u), {"not a GGUF", "GGJT"}});
    c.push_back({"zip", std::string("PK\3\4") + "rest", {"not a GGUF", "50 4b 03 04", "ZIP"}});
    c.push_back({"lfs", "version https://git-lfs.github.com/spec/v1\n", {"not a GGUF", "git lfs pull"}});
    c.push_back({"html", "<!DOCTYPE html><html>", {"not a GGUF", "web page"}});
    c.push_back({"zeros", std::string(64, '\0'), {"not a GGUF", "00 00 00 00", "unfinished"}});
    c.push_back({"control characters", "\x1b[2J\n....", {"not a GGUF", "\\x1b"}});
    return c;
}

class Hostile : public testing::TestWithParam<Case> {};

TEST_P(Hostile, IsRefusedWithItsPlace) {
    const Case& c = GetParam();
    std::vector<std::string> needles = c.needles;
    needles.push_back("'bad.gguf'");
    const HeapCopy copy(c.bytes);
    const std::string name = "bad.gguf";
    largest_allocation = 0;
    try {
        const File file = File::parse(copy.bytes(), name);
        ADD_FAILURE() << "accepted";
    } catch (const Error&) {
        EXPECT_LT(largest_allocation.load(), kSmall);
    }
    expect_error([&] { (void)File::parse(copy.bytes(), name); }, c.code, needles);

    const TemporaryFolder folder;
    const auto path = folder.write("bad.gguf", c.bytes);
    for (const bool map : {true, false}) {
        std::vector<std::string> on_disk = c.needles;
        on_disk.push_back(path.string());
        expect_error([&] { (void)File::open(path, {.map = map}); }, c.code, on_disk);
    }
}

std::string test_name(const testing::TestParamInfo<Case>& param) {
    std::string out = std::to_string(param.index) + "_";
    for (const char ch : param.param.name) out += std::isalnum(static_cast<unsigned char>(ch)) ? ch : '_';
    return out;
}

INSTANTIATE_TEST_SUITE_P(Classes, Hostile, testing::ValuesIn(cases()), test_name);

TEST(HostileFile, TheUnspoiltFileOpens) {
    const std::string bytes = small_file().bytes();
    const HeapCopy copy(bytes);
    const File file = File::parse(copy.bytes(), "good.gguf");
    EXPECT_EQ(file.metadata().size(), 7u);
    EXPECT_EQ(file.tensors().size(), 3u);
}

// CVE-2024-32878, CVE-2024-39720.
TEST(HostileFile, EveryEarlyEndIsRefused) {
    const std::string bytes = small_file().bytes();
    const TemporaryFolder folder;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        SCOPED_TRACE(size);
        const std::string cut = bytes.substr(0, size);
        const HeapCopy copy(cut);
        largest_allocation = 0;
        EXPECT_THROW((void)File::parse(copy.bytes(), "cut"), Error);
        EXPECT_LT(largest_allocation.load(), kSmall);
        expect_error([&] { (void)File::parse(copy.bytes(), "cut"); }, ErrorCode::bad_file,
                     {"'cut'", "offset "});
        const auto path = folder.write("cut.gguf", cut);
        for (const bool map : {true, false})
            expect_error([&] { (void)File::open(path, {.map = map}); }, ErrorCode::bad_file, {"cut.gguf"});
    }
}

TEST(HostileFile, ACutHeaderIsRefusedWithoutDataToo) {
    const RawFile raw_file = small_file();
    const std::string header = raw_file.header();
    for (std::size_t size = 0; size < header.size(); ++size)
        EXPECT_THROW((void)File::parse(HeapCopy(header.substr(0, size)).bytes(), "cut", {.need_data = false}),
                     Error)
            << size;
}

// A name is the file's own text: messages must stay one line and show no control characters.
TEST(HostileFile, NamesAreEscapedInMessages) {
    const std::string bytes =
        edited([](RawFile& f) { f.entries.push_back(entry("x\x1b[2J\ny", 8, raw_string("", 999999))); });
    expect_error([&] { (void)File::parse(HeapCopy(bytes).bytes(), "bad"); }, ErrorCode::bad_file,
                 {"x\\x1b[2J\\ny"});
}

// A million keys that a hash table would put into one bucket must not take long; here: a long common prefix.
TEST(HostileFile, ManyLongKeysAreCheckedInReasonableTime) {
    RawFile f;
    for (int i = 0; i < 20000; ++i)
        f.entries.push_back(entry(std::string(500, 'k') + std::to_string(100000 - i), 0, "\1"));
    const std::string bytes = f.bytes();
    const File file = File::parse(HeapCopy(bytes).bytes(), "keys");
    EXPECT_EQ(file.metadata().size(), 20000u);
}

// Flips and boundary values in every place of a small file: an Error, or a file that is sound and can be
// written.
class Mutation : public testing::Test {
protected:
    void check(const std::string& bytes) {
        const HeapCopy copy(bytes);
        largest_allocation = 0;
        try {
            const File file = File::parse(copy.bytes(), "mutated");
            (void)touch(file);
            const std::vector<std::byte> again = rewritten(file).to_bytes();
            EXPECT_EQ(difference(file, File::parse(again, "again")), "");
            ++accepted;
        } catch (const Error& e) {
            EXPECT_TRUE(e.code() == ErrorCode::bad_file || e.code() == ErrorCode::unsupported) << e.what();
            ++refused;
        }
        EXPECT_LT(largest_allocation.load(), 2 * gguf::kMaxAlignment + kSmall);
    }
    int accepted = 0;
    int refused = 0;
};

TEST_F(Mutation, OfEachByte) {
    const std::string bytes = small_file().bytes();
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        for (const int value : {bytes[i] ^ 1, bytes[i] ^ 0x80, bytes[i] + 1, bytes[i] - 1, 0, 0x7f, 0xff}) {
            std::string mutated = bytes;
            mutated[i] = static_cast<char>(value);
            check(mutated);
        }
    }
    EXPECT_GT(accepted, 100);
    EXPECT_GT(refused, 100);
}

TEST_F(Mutation, OfEachWord) {
    const std::string bytes = small_file().header();
    constexpr std::uint64_t kValues[] = {0,          1,          31,         32,         255,
                                         65536,      1ull << 31, 1ull << 32, 1ull << 60, 1ull << 61,
                                         1ull << 62, 1ull << 63, kHuge,      kHuge - 7,  kHuge - 31};
    for (std::size_t i = 0; i + 8 <= bytes.size(); ++i) {
        for (const std::uint64_t value : kValues) {
            std::string mutated = small_file().bytes();
            std::memcpy(mutated.data() + i, &value, sizeof value);
            check(mutated);
            std::memcpy(mutated.data() + i, bytes.data() + i, sizeof value);
            std::memcpy(mutated.data() + i, &value, 4);
            check(mutated);
        }
    }
    EXPECT_GT(refused, 100);
}

TEST_F(Mutation, Random) {
    const std::string bytes = small_file().bytes();
    std::uint64_t state = 42;
    const auto next =
        [&] {  // xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators"
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            return state * 2685821657736338717ull >> 32;
        };
    for (int round = 0; round < 20000; ++round) {
        std::string mutated = bytes;
        for (std::uint64_t edits = 1 + next() % 4; edits > 0; --edits) {
            if (mutated.empty()) break;
            const std::size_t i = next() % mutated.size();
            switch (next() % 4) {
                case 0:
                    mutated[i] = static_cast<char>(next());
                    break;
                case 1:
                    mutated.erase(i, next() % 16);
                    break;
                case 2:
                    mutated.insert(i, 1 + next() % 16, static_cast<char>(next()));
                    break;
                default:
                    mutated.insert(i, bytes, next() % bytes.size(), next() % 64);
                    break;
            }
        }
        check(mutated);
    }
    EXPECT_GT(accepted, 100);
    EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace tern::test
