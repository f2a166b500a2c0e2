// tern plan: its numbers add up, its advice is true, and a run takes what it says.
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/tiny_model.h"
#include "support/sanitizer.h"

namespace tern::test {
namespace {

using Json = nlohmann::ordered_json;

class Plan : public CommandTest {
protected:
    Plan() { tiny_model().write(path("m.gguf")); }
    Outcome plan(std::vector<std::string> more) const {
        std::vector<std::string> call{"plan", "-m", path("m.gguf")};
        call.insert(call.end(), more.begin(), more.end());
        return tern(call);
    }
    Json json(std::vector<std::string> more, int exit_status = 0) const {
        more.push_back("--json");
        const Outcome o = plan(more);
        EXPECT_EQ(o.exit_status, exit_status) << o.err;
        return Json::parse(o.out, nullptr, false);
    }
};

// Two layers, two KV heads of 16 numbers, keys and values.
constexpr std::uint64_t kNumbers = 2 * 2 * 16 * 2;

TEST_F(Plan, TheNumbersAddUp) {
    const Json one = json({"--ctx", "128"});
    EXPECT_EQ(one["kv_per_token"], kNumbers * 2);
    EXPECT_EQ(one["kv"], 128 * kNumbers * 2);
    EXPECT_EQ(one["context"], 128);
    EXPECT_EQ(one["parallel"], 1);
    EXPECT_TRUE(one["fits"].get<bool>());
    EXPECT_EQ(one["total"].get<std::uint64_t>(),
              one["weights"].get<std::uint64_t>() + one["kv"].get<std::uint64_t>() + one["scratch"].get<std::uint64_t>());
    EXPECT_LE(one["weights"].get<std::uint64_t>(), tiny_model().bytes().size());
    EXPECT_GE(one["weights"].get<std::uint64_t>(), tiny_model().bytes().size() / 2);
    EXPECT_EQ(json({"--ctx", "128", "--parallel", "5"})["kv"], 5 * 128 * kNumbers * 2);
    EXPECT_EQ(json({"--ctx", "128", "--kv-type", "f32"})["kv"], 128 * kNumbers * 4);
    // Each head of 16 numbers has a scale of its own.
    EXPECT_EQ(json({"--ctx", "128", "--kv-type", "q8_0"})["kv"], 128 * kNumbers / 16 * (16 + 2));
    EXPECT_EQ(json({})["context"], kTinyContext);
}

TEST_F(Plan, WhatItSaysFitsDoes) {
    const Json free = json({"--ctx", "256", "--parallel", "2"});
    const std::uint64_t total = free["total"].get<std::uint64_t>();
    const std::string exact = std::to_string(total), less = std::to_string(total - 1);
    const Json fits = json({"--ctx", "256", "--parallel", "2", "--budget", exact});
    EXPECT_EQ(fits["budget"], total);
    EXPECT_EQ(fits["max_parallel"], 2);
    EXPECT_TRUE(fits["fits"].get<bool>());
    const Json not_all = json({"--ctx", "256", "--parallel", "2", "--budget", less}, 1);
    EXPECT_FALSE(not_all["fits"].get<bool>());
    EXPECT_EQ(not_all["max_parallel"], 1);

    const Outcome o = plan({"--ctx", "256", "--parallel", "2", "--budget", less});
    EXPECT_TRUE(failed(o, 1, {"2 sequences of 256", "--ctx ", "--parallel 1", "--kv-type q8_0"}, false));
    // The advice holds, and one position more does not.
    const std::size_t at = o.err.find("--ctx ") + 6;
    const unsigned long context = std::strtoul(o.err.c_str() + at, nullptr, 10);
    json({"--ctx", std::to_string(context), "--parallel", "2", "--budget", less});
    json({"--ctx", std::to_string(context + 1), "--parallel", "2", "--budget", less}, 1);
    json({"--ctx", "256", "--parallel", "1", "--budget", less});
    json({"--ctx", "256", "--parallel", "2", "--budget", less, "--kv-type", "q8_0"});
}

TEST_F(Plan, TheOtherCommandsKeepToTheBudget) {
    const std::uint64_t total = json({"--ctx", "64"})["total"].get<std::uint64_t>();
    const std::vector<std::string> run{"run", "--raw", "-m", path("m.gguf"), "--ctx", "64", "-n", "2", "ab", "--memory"};
    std::vector<std::string> enough = run, less = run;
    enough.push_back(std::to_string(total));
    less.push_back(std::to_string(total - 1));
    EXPECT_TRUE(done(tern(enough)));
    EXPECT_TRUE(failed(tern(less), 1, {"budget", "64"}));
}

TEST_F(Plan, ABudgetSmallerThanTheWeights) {
    EXPECT_TRUE(failed(plan({"--budget", "10K"}), 1, {"weights alone", "10.0 KiB"}, false));
    const Json j = json({"--budget", "10K"}, 1);
    EXPECT_FALSE(j["fits"].get<bool>());
    EXPECT_EQ(j["budget"], 10240);
    EXPECT_EQ(j["max_context"], 0);
}

TEST_F(Plan, Sizes) {
    for (const auto& [text, bytes] : {std::pair{"1048576", 1048576u}, {"1M", 1048576u}, {"1MiB", 1048576u}, {"1mb", 1048576u},
                                      {"1024K", 1048576u}, {"1.5M", 1572864u}, {"0.5G", 536870912u}})
        EXPECT_EQ(json({"--budget", text})["budget"], bytes) << text;
    for (const char* text : {"", "M", "-1", "0", "1X", "1MM", "1 GiBs", "nan", "1e30"})
        EXPECT_TRUE(failed(plan({"--budget", text}), 2, {"--budget", "512M"})) << text;
}

TEST_F(Plan, ForPeople) {
    const Outcome o = plan({"--ctx", "128", "--parallel", "3"});
    EXPECT_TRUE(done(o));
    for (const char* word : {"weights", "KV cache", "3 sequences", "scratch", "total", "It fits."})
        EXPECT_NE(o.out.find(word), std::string::npos) << word << "\n" << o.out;
}

TEST_F(Plan, OneDeviceWhereThereIsOne) {
    const Json j = json({"--ctx", "128"});
    EXPECT_EQ(j["layers_left"], 0);
    ASSERT_EQ(j["devices"].size(), 1u);
    const Json& d = j["devices"][0];
    EXPECT_EQ(d["backend"], "cpu");
    EXPECT_EQ(d["layers"], 2);
    for (const char* what : {"weights", "kv", "scratch", "total"}) EXPECT_EQ(d[what], j[what]) << what;
    EXPECT_TRUE(d["fits"].get<bool>());
    EXPECT_TRUE(failed(plan({"--gpu-layers", "1"}), 1, {"gpu_layers is 1", "'cpu'", "vulkan"}));
    EXPECT_TRUE(failed(plan({"--device", "0"}), 1, {"'0'", "'cpu'", "vulkan"}));
    EXPECT_TRUE(failed(plan({"--half"}), 1, {"half precision", "'cpu'", "vulkan"}));
    for (const char* number : {"-1", "x", "1.5"}) EXPECT_EQ(plan({"--gpu-layers", number}).exit_status, 2) << number;
}

TEST_F(Plan, ShowsTheSplit) {
    const char* name = std::getenv("TERN_TEST_VULKAN_DEVICE");
    const std::vector<std::string> vulkan{"--ctx", "128", "--backend", "vulkan", "--device", name ? name : "llvmpipe"};
    const auto with = [&](std::vector<std::string> more) {
        std::vector<std::string> call = vulkan;
        call.insert(call.end(), more.begin(), more.end());
        return call;
    };
    if (const Outcome o = plan(vulkan); o.exit_status != 0) GTEST_SKIP() << o.err;
    const Json none = json(with({"--gpu-layers", "0"})), one = json(with({"--gpu-layers", "1"})),
               most = json(with({"--gpu-layers", "2"})), all = json(with({"--gpu-layers", "99"})), own = json(vulkan);
    ASSERT_EQ(none["devices"].size(), 1u);
    EXPECT_EQ(none["devices"][0]["device"], "cpu");
    ASSERT_EQ(one["devices"].size(), 2u);
    EXPECT_EQ(one["devices"][0]["layers"], 1);
    EXPECT_EQ(one["devices"][1]["layers"], 1);
    EXPECT_EQ(one["devices"][1]["backend"], "vulkan");
    EXPECT_EQ(one["kv"].get<std::uint64_t>(), one["devices"][0]["kv"].get<std::uint64_t>() + one["devices"][1]["kv"].get<std::uint64_t>());
    ASSERT_EQ(most["devices"].size(), 2u);
    EXPECT_EQ(most["devices"][0]["layers"], 0);
    EXPECT_EQ(most["devices"][0]["kv"], 0);
    EXPECT_GT(most["devices"][0]["weights"], 0);
    EXPECT_EQ(all["devices"].size(), 1u);
    EXPECT_EQ(all["devices"][0]["layers"], 2);
    // Apart from what is free, which changes.
    Json mine = own["devices"], theirs = all["devices"];
    for (Json* list : {&mine, &theirs})
        for (Json& d : *list) d.erase("memory");
    EXPECT_EQ(mine, theirs);
    for (const Json* j : {&none, &one, &most, &all}) EXPECT_EQ((*j)["kv"], 128 * kNumbers * 2);
    const Outcome text = plan(with({"--gpu-layers", "1"}));
    EXPECT_TRUE(done(text));
    for (const char* word : {"cpu: 1 layer,", "of weights", "It fits."})
        EXPECT_NE(text.out.find(word), std::string::npos) << word << "\n" << text.out;
    // As planned so done.
    const Outcome run = tern({"run", "--raw", "-m", path("m.gguf"), "--ctx", "64", "-n", "2", "ab", "-v", "--backend", "vulkan",
                              "--device", vulkan.back(), "--gpu-layers", "1"});
    EXPECT_EQ(run.exit_status, 0) << run.err;
    EXPECT_NE(run.err.find("1 layer on cpu"), std::string::npos) << run.err;
}

// A layer's cache of 128 bytes a position in the 128 MiB that shaders of lavapipe see.
TEST_F(Plan, WhatAShaderSeesLimitsTheContext) {
    const char* name = std::getenv("TERN_TEST_VULKAN_DEVICE");
    const std::string device = name ? name : "llvmpipe";
    if (device != "llvmpipe") GTEST_SKIP() << "its limits are not known here";
    TinyModel(2'000'000).write(path("long.gguf"));
    const std::vector<std::string> call{"plan",     "-m",  path("long.gguf"), "--backend", "vulkan",
                                        "--device", device};
    const auto with = [&](std::vector<std::string> more) {
        more.insert(more.begin(), call.begin(), call.end());
        return tern(more);
    };
    if (const Outcome o = with({"--ctx", "128"}); o.exit_status != 0) GTEST_SKIP() << o.err;
    // Longer contexts are more than its driver's loops can walk: a length that was asked for is kept, and the layers are
    // on the CPU.
    const Json own = Json::parse(with({"--json", "--ctx", "7744"}).out);
    EXPECT_EQ(own["context"], 7744);
    EXPECT_EQ(own["devices"].size(), 1u);
    EXPECT_EQ(own["why_left"], "");
    const Outcome longer = with({"--ctx", "7745"});
    EXPECT_TRUE(done(longer));
    EXPECT_NE(longer.out.find("2 layers on the CPU: llvmpipe"), std::string::npos) << longer.out;
    EXPECT_NE(longer.out.find("more than 7744 positions"), std::string::npos) << longer.out;
    const std::vector<std::string> both{"--ctx", "7745", "--gpu-layers", "2"};
    EXPECT_TRUE(failed(with(both), 1, {"more than 7744 positions", "--gpu-layers 0 would fit"}, false));
    const std::vector<std::string> many{"--ctx", "7000", "--parallel", "160"};
    EXPECT_TRUE(failed(with(many), 1, {"160 sequences of 7,000", "128.0 MiB", "--parallel 14"}, false));
}

// Large enough for the program itself to matter little: 4 layers of 32 heads of 128 numbers.
void write_large_model(const std::filesystem::path& file) {
    constexpr std::uint64_t kWidth = 256, kHeads = 4096, kHidden = 4096;
    gguf::Writer w;
    w.add_string("general.architecture", "llama");
    w.add_u32("llama.block_count", 4);
    w.add_u32("llama.embedding_length", kWidth);
    w.add_u32("llama.attention.head_count", 32);
    w.add_u32("llama.attention.key_length", 128);
    w.add_u32("llama.attention.value_length", 128);
    w.add_u32("llama.feed_forward_length", kHidden);
    w.add_u32("llama.context_length", 1024);
    w.add_u32("llama.rope.dimension_count", 128);
    w.add_u32("llama.vocab_size", 64);
    w.add_string("tokenizer.ggml.model", "none");
    w.add_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    std::vector<std::vector<float>> data;
    const auto add = [&](const std::string& name, std::uint64_t cols, std::uint64_t rows) {
        std::vector<float>& values = data.emplace_back(cols * rows, 0.01f);
        for (std::size_t i = 0; i < values.size(); i += 7) values[i] = -0.01f;
        const std::uint64_t shape[] = {cols, rows};
        w.add_tensor(name, DType::F32, std::span(shape, rows == 1 ? 1 : 2), std::as_bytes(std::span(values)));
    };
    add("token_embd.weight", kWidth, 64);
    add("output_norm.weight", kWidth, 1);
    add("output.weight", kWidth, 64);
    for (int layer = 0; layer < 4; ++layer) {
        const std::string at = "blk." + std::to_string(layer) + ".";
        add(at + "attn_norm.weight", kWidth, 1);
        add(at + "attn_q.weight", kWidth, kHeads);
        add(at + "attn_k.weight", kWidth, kHeads);
        add(at + "attn_v.weight", kWidth, kHeads);
        add(at + "attn_output.weight", kHeads, kWidth);
        add(at + "ffn_norm.weight", kWidth, 1);
        add(at + "ffn_gate.weight", kWidth, kHidden);
        add(at + "ffn_up.weight", kWidth, kHidden);
        add(at + "ffn_down.weight", kHidden, kWidth);
    }
    const std::vector<std::byte> bytes = w.to_bytes();
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

TEST_F(Plan, ARunTakesWhatThePlanSays) {
    if (kSanitized) GTEST_SKIP() << "sanitizers take memory of their own";
    write_large_model(path("large.gguf"));
    const Outcome planned = tern({"plan", "-m", path("large.gguf"), "--ctx", "1024", "--kv-type", "f32", "--json"});
    ASSERT_TRUE(done(planned));
    EXPECT_LT(planned.seconds, 1);
    const Json j = Json::parse(planned.out);
    const double total = j["total"].get<double>() / 1024;
    EXPECT_EQ(j["kv"], 1024 * 4 * 2 * 4096 * 4);
    // The program itself, which is in no plan.
    const double base = static_cast<double>(tern({"--version"}).most_resident_kib);
    EXPECT_LT(static_cast<double>(planned.most_resident_kib) - base, total / 10);

    std::string ids = "1";
    for (int i = 1; i < 1000; ++i) ids += "," + std::to_string(i % 64);
    const Outcome run = tern({"run", "-t", "2", "-m", path("large.gguf"), "--ctx", "1024", "--kv-type", "f32", "--ids", ids, "-n", "24",
                              "--temp", "0", "--json"});
    ASSERT_EQ(run.exit_status, 0) << run.err;
    const double taken = static_cast<double>(run.most_resident_kib) - base;
    RecordProperty("planned_kib", std::to_string(total));
    RecordProperty("taken_kib", std::to_string(taken));
    EXPECT_NEAR(taken, total, total * 0.05);
}

}  // namespace
}  // namespace tern::test
