// tern bench: the fields that scripts read.
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/tiny_model.h"

namespace tern::test {
namespace {

using Json = nlohmann::ordered_json;

class Bench : public CommandTest {};

TEST_F(Bench, JsonFields) {
    tiny_model().write(path("m.gguf"));
    const Outcome o = tern({"bench", "-m", path("m.gguf"), "-t", "1", "-p", "8", "-n", "4", "-d", "3", "-b", "2", "-r", "1",
                            "--kv-type", "q8_0", "--json"});
    ASSERT_TRUE(done(o));
    EXPECT_EQ(std::count(o.out.begin(), o.out.end(), '\n'), 1);
    const Json list = Json::parse(o.out);
    ASSERT_TRUE(list.is_array());
    ASSERT_EQ(list.size(), 2u);
    EXPECT_EQ(list[0]["test"], "pp8 d3 b2");
    EXPECT_EQ(list[1]["test"], "tg4 d3 b2");
    for (const Json& row : list) {
        std::vector<std::string> keys;
        for (const auto& [key, value] : row.items()) keys.push_back(key);
        EXPECT_EQ(keys, (std::vector<std::string>{"test", "tokens_per_second", "gb_per_second", "ceiling_gb_per_second",
                                                  "gops", "ceiling_gops"}));
        for (const char* key : {"tokens_per_second", "gb_per_second", "ceiling_gb_per_second", "gops"})
            EXPECT_GT(row[key].get<double>(), 0) << key;
        EXPECT_TRUE(row["ceiling_gops"].is_null() || row["ceiling_gops"].get<double>() > 0);
    }
}

// A figure of a foreign library stands beside its settings.
TEST_F(Bench, SaysWhatOpenBlasIs) {
    if (!TERN_HAVE_OPENBLAS) GTEST_SKIP() << "this build has no OpenBLAS";
    tiny_model().write(path("m.gguf"));
    const Outcome o = tern({"bench", "-m", path("m.gguf"), "-t", "1", "-p", "40", "-n", "0", "-r", "1", "--backend", "blas", "--json"});
    EXPECT_EQ(o.exit_status, 0);
    EXPECT_TRUE(o.err.starts_with("tern: OpenBLAS ")) << o.err;
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    EXPECT_EQ(Json::parse(o.out).size(), 1u);
}

TEST_F(Bench, LocksTheWeights) {
    tiny_model().write(path("m.gguf"));
    EXPECT_TRUE(done(tern({"bench", "-m", path("m.gguf"), "-t", "1", "-p", "1", "-n", "1", "-r", "1", "--lock"})));
}

TEST_F(Bench, RefusesUnknownShapesAndFormats) {
    EXPECT_TRUE(failed(tern({"bench", "--shape", "huge"}), 1, {"huge", "llama-3.2-1b"}));
    EXPECT_TRUE(failed(tern({"bench", "--shape", "tiny-110m", "--format", "Q9_9"}), 1, {"Q9_9", "Q4_K_M"}));
}

}  // namespace
}  // namespace tern::test
