// Typed access: what converts, what is refused and how it is said.
#include <cmath>
#include <functional>
#include <limits>

#include "raw_file.h"

namespace tern::test {
namespace {

using gguf::File;
using gguf::Value;
using gguf::ValueType;

// One file with the given entries, kept alive with its bytes.
class Values {
public:
    explicit Values(std::vector<std::string> entries)
        : copy_([&] {
              RawFile f;
              f.entries = std::move(entries);
              return f.header();
          }()),
          file_(File::parse(copy_.bytes(), "values.gguf")) {}
    const Value& operator[](const char* key) const { return file_.get(key); }
    const File& file() const { return file_; }

private:
    HeapCopy copy_;
    File file_;
};

void expect_mismatch(const std::function<void()>& call, const std::vector<std::string>& needles) {
    std::vector<std::string> all = needles;
    all.push_back("'values.gguf'");
    expect_error(call, ErrorCode::bad_file, all);
}

TEST(Value, IntegersConvertWhenTheyFit) {
    const Values v({
        entry("u8", 0, raw<std::uint8_t>(255)),
        entry("i8", 1, raw<std::int8_t>(-128)),
        entry("u16", 2, raw<std::uint16_t>(65535)),
        entry("i16", 3, raw<std::int16_t>(-32768)),
        entry("u32", 4, raw<std::uint32_t>(4294967295u)),
        entry("i32", 5, raw<std::int32_t>(-1)),
        entry("u64", 10, raw<std::uint64_t>(18446744073709551615ull)),
        entry("i64", 11, raw<std::int64_t>(std::numeric_limits<std::int64_t>::min())),
        entry("i64+", 11, raw<std::int64_t>(7)),
    });
    EXPECT_EQ(v["u8"].as_u64(), 255u);
    EXPECT_EQ(v["i8"].as_i64(), -128);
    EXPECT_EQ(v["u16"].as_u32(), 65535u);
    EXPECT_EQ(v["i16"].as_i64(), -32768);
    EXPECT_EQ(v["u32"].as_u32(), 4294967295u);
    EXPECT_EQ(v["u32"].as_i64(), 4294967295);
    EXPECT_EQ(v["i32"].as_i64(), -1);
    EXPECT_EQ(v["u64"].as_u64(), 18446744073709551615ull);
    EXPECT_EQ(v["i64"].as_i64(), std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(v["i64+"].as_u32(), 7u);

    EXPECT_EQ(v["u8"].as_float(), 255.0);
    EXPECT_EQ(v["i32"].as_float(), -1.0);
    EXPECT_EQ(v["u64"].as_float(), 18446744073709551616.0);

    expect_mismatch([&] { (void)v["i8"].as_u64(); }, {"'i8'", "-128"});
    expect_mismatch([&] { (void)v["i32"].as_u32(); }, {"'i32'", "-1"});
    expect_mismatch([&] { (void)v["u64"].as_u32(); }, {"'u64'", "18446744073709551615"});
    expect_mismatch([&] { (void)v["u64"].as_i64(); }, {"'u64'", "18446744073709551615"});
}

TEST(Value, OtherKindsAreRefusedByName) {
    const Values v({
        entry("int", 4, raw(3u)),
        entry("one", 4, raw(1u)),
        entry("float", 6, raw(0.5f)),
        entry("double", 12, raw(0.25)),
        entry("bool", 7, "\1"),
        entry("string", 8, raw_string("text")),
        entry("ints", 9, array_payload(5, 1, raw(1))),
        entry("strings", 9, array_payload(8, 1, raw_string("a"))),
    });
    EXPECT_EQ(v["float"].as_float(), 0.5);
    EXPECT_EQ(v["double"].as_float(), 0.25);
    EXPECT_TRUE(v["bool"].as_bool());
    EXPECT_EQ(v["string"].as_string(), "text");

    expect_mismatch([&] { (void)v["float"].as_u64(); }, {"'float'", "f32", "integer"});
    expect_mismatch([&] { (void)v["bool"].as_u64(); }, {"'bool'", "bool", "integer"});
    expect_mismatch([&] { (void)v["one"].as_bool(); }, {"'one'", "u32", "bool"});
    expect_mismatch([&] { (void)v["string"].as_u32(); }, {"'string'", "string", "integer"});
    expect_mismatch([&] { (void)v["bool"].as_float(); }, {"'bool'", "number"});
    expect_mismatch([&] { (void)v["string"].as_float(); }, {"'string'", "number"});
    expect_mismatch([&] { (void)v["int"].as_string(); }, {"'int'", "u32", "string"});
    expect_mismatch([&] { (void)v["strings"].as_string(); }, {"'strings'", "array of 1 string"});
    expect_mismatch([&] { (void)v["ints"].as_i64(); }, {"'ints'", "array of 1 i32", "integer"});
    expect_mismatch([&] { (void)v["int"].as_strings(); }, {"'int'", "u32", "array of strings"});
    expect_mismatch([&] { (void)v["ints"].as_strings(); }, {"'ints'", "array of strings"});
    expect_mismatch([&] { (void)v["strings"].as_floats(); }, {"'strings'", "array of numbers"});
    expect_mismatch([&] { (void)v["strings"].as_integers(); }, {"'strings'", "array of integers"});
    expect_mismatch([&] { (void)v["ints"].as_bools(); }, {"'ints'", "array of bool"});
}

TEST(Value, Arrays) {
    const Values v({
        entry("u8s", 9, array_payload(0, 3, "\1\2\xff")),
        entry("i16s", 9, array_payload(3, 2, raw<std::int16_t>(-5) + raw<std::int16_t>(6))),
        entry("u64s", 9, array_payload(10, 2, raw<std::uint64_t>(1) + raw<std::uint64_t>(1ull << 63))),
        entry("f32s", 9, array_payload(6, 2, raw(0.1f) + raw(-2.0f))),
        entry("f64s", 9, array_payload(12, 1, raw(0.5))),
        entry("bools", 9, array_payload(7, 3, std::string("\0\1\0", 3))),
        entry("strings", 9, array_payload(8, 3, raw_string("a") + raw_string("") + raw_string(std::string("\0\xff", 2)))),
        entry("none", 9, array_payload(8, 0, "")),
    });
    EXPECT_EQ(v["u8s"].as_integers(), (std::vector<std::int64_t>{1, 2, 255}));
    EXPECT_EQ(v["i16s"].as_integers(), (std::vector<std::int64_t>{-5, 6}));
    expect_mismatch([&] { (void)v["u64s"].as_integers(); }, {"'u64s'", "9223372036854775808"});
    EXPECT_EQ(v["f32s"].as_floats(), (std::vector<float>{0.1f, -2.0f}));
    EXPECT_EQ(v["f64s"].as_floats(), (std::vector<float>{0.5f}));
    EXPECT_EQ(v["u8s"].as_floats(), (std::vector<float>{1, 2, 255}));
    expect_mismatch([&] { (void)v["f32s"].as_integers(); }, {"'f32s'"});
    EXPECT_EQ(v["bools"].as_bools(), (std::vector<bool>{false, true, false}));
    EXPECT_EQ(v["strings"].as_strings(), (std::vector<std::string_view>{"a", "", std::string_view("\0\xff", 2)}));
    EXPECT_TRUE(v["none"].as_strings().empty());
    EXPECT_EQ(v["none"].size(), 0u);
    EXPECT_EQ(v["none"].element_type(), ValueType::string);
    EXPECT_EQ(v["u8s"].size(), 3u);
    EXPECT_EQ(v["u8s"].type(), ValueType::array);
}

TEST(Value, Text) {
    const Values v({
        entry("float", 6, raw(0.1f)),
        entry("nan", 6, raw(std::nanf(""))),
        entry("bool", 7, std::string(1, '\0')),
        entry("negative", 5, raw(-3)),
        entry("string", 8, raw_string("two\nlines \x1b[0m \xc3\xa9")),
        entry("ints", 9, array_payload(5, 4, raw(1) + raw(2) + raw(-3) + raw(4))),
        entry("strings", 9, array_payload(8, 2, raw_string("a") + raw_string("\t"))),
        entry("none", 9, array_payload(5, 0, "")),
    });
    EXPECT_EQ(v["float"].to_text(), "0.1");
    EXPECT_EQ(v["nan"].to_text(), "nan");
    EXPECT_EQ(v["bool"].to_text(), "false");
    EXPECT_EQ(v["negative"].to_text(), "-3");
    EXPECT_EQ(v["string"].to_text(), "two\\nlines \\x1b[0m \xc3\xa9");
    EXPECT_EQ(v["ints"].to_text(), "[1, 2, -3, 4]");
    EXPECT_EQ(v["ints"].to_text(4), "[1, 2, -3, 4]");
    EXPECT_EQ(v["ints"].to_text(2), "[1, 2, ... (4)]");
    EXPECT_EQ(v["ints"].to_text(0), "[... (4)]");
    EXPECT_EQ(v["strings"].to_text(), "[\"a\", \"\\t\"]");
    EXPECT_EQ(v["none"].to_text(), "[]");
    EXPECT_EQ(Value().to_text(), "");
}

TEST(File, LookUpAndDefaults) {
    const Values v({entry("b", 4, raw(3u)), entry("a", 6, raw(0.5f)), entry("c", 8, raw_string("text")),
                    entry("d", 7, "\1")});
    const File& file = v.file();
    EXPECT_EQ(file.metadata()[0].key(), "b");  // file order
    EXPECT_EQ(file.u64_or("b", 9), 3u);
    EXPECT_EQ(file.u64_or("x", 9), 9u);
    EXPECT_EQ(file.float_or("a", 9), 0.5);
    EXPECT_EQ(file.float_or("x", 9), 9.0);
    EXPECT_EQ(file.bool_or("d", false), true);
    EXPECT_EQ(file.bool_or("x", true), true);
    EXPECT_EQ(file.string_or("c", "y"), "text");
    EXPECT_EQ(file.string_or("x", "y"), "y");
    EXPECT_EQ(file.find("x"), nullptr);
    EXPECT_EQ(file.find(""), nullptr);
    EXPECT_EQ(file.find_tensor("x"), nullptr);
    expect_mismatch([&] { (void)file.u64_or("c", 1); }, {"'c'", "string"});
    expect_mismatch([&] { (void)file.string_or("b", ""); }, {"'b'", "u32"});
    expect_mismatch([&] { (void)file.get("llama.block_count"); }, {"'llama.block_count'", "absent"});
    expect_mismatch([&] { (void)file.get_tensor("output.weight"); }, {"'output.weight'", "absent"});
}

}  // namespace
}  // namespace tern::test
