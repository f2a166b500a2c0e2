// tern verify: findings, fingerprint, exit status.
#include <cstring>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/tiny_model.h"

namespace tern::test {
namespace {

using Json = nlohmann::json;

class VerifyCommand : public CommandTest {};

TEST_F(VerifyCommand, AGoodFile) {
    tiny_model().write(path("m.gguf"));
    const Outcome o = tern({"verify", "-m", path("m.gguf")});
    ASSERT_TRUE(done(o));
    for (const char* part : {"weights", "shapes", "tokeniser", "template     none", "fingerprint  "})
        EXPECT_NE(o.out.find(part), std::string::npos) << part;
    std::string print;
    for (const std::vector<std::string>& more :
         {std::vector<std::string>{}, {"-t", "1"}, {"--isa", "scalar"}, {"-t", "4"}}) {
        std::vector<std::string> call{"verify", "-m", path("m.gguf"), "--json"};
        call.insert(call.end(), more.begin(), more.end());
        const Outcome json = tern(call);
        ASSERT_TRUE(done(json));
        const Json j = Json::parse(json.out);
        EXPECT_EQ(j["ok"], true);
        EXPECT_TRUE(j["findings"].empty());
        if (print.empty()) print = j["fingerprint"];
        EXPECT_EQ(j["fingerprint"], print);
    }
    EXPECT_EQ(print.size(), 16u);
    EXPECT_NE(o.out.find("fingerprint  " + print), std::string::npos) << o.out;
    // What promises no bits gives none.
    if (TERN_HAVE_OPENBLAS) {
        const Outcome blas = tern({"verify", "--backend", "blas"});
        ASSERT_TRUE(done(blas));
        EXPECT_NE(blas.out.find("fingerprint  none"), std::string::npos) << blas.out;
    }
}

TEST_F(VerifyCommand, ABrokenFileIsStatusOneAndEveryFindingIsNamed) {
    std::vector<std::byte> bytes = tiny_model().bytes();
    const gguf::File file = gguf::File::parse(bytes, "m");
    const std::uint16_t infinity = 0x7C00;
    for (const char* name : {"blk.0.ffn_gate.weight", "blk.1.attn_k.weight"})
        std::memcpy(bytes.data() + (file.find_tensor(name)->data - bytes.data()), &infinity, sizeof infinity);
    write_file("m.gguf", std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    const Outcome o = tern({"verify", "-m", path("m.gguf")});
    EXPECT_TRUE(failed(o, 1, {"m.gguf", "blk.0.ffn_gate.weight"}, false));
    for (const char* name : {"blk.0.ffn_gate.weight", "blk.1.attn_k.weight"})
        EXPECT_NE(o.out.find(name), std::string::npos) << o.out;
    const Outcome json = tern({"verify", "--json", "-m", path("m.gguf")});
    EXPECT_EQ(json.exit_status, 1);
    const Json j = Json::parse(json.out);
    EXPECT_EQ(j["ok"], false);
    EXPECT_GE(j["findings"].size(), 2u);
    EXPECT_EQ(j["findings"][0]["part"], "weights");
    EXPECT_TRUE(failed(tern({"verify", "-m", path("none.gguf")}), 1, {"none.gguf"}));
    EXPECT_TRUE(failed(tern({"verify", "-m", write_file("text", "no model")}), 1, {"text"}, false));
}

}  // namespace
}  // namespace tern::test
