#include <gtest/gtest.h>
#include <tern/error.h>
#include <tern/verify.h>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <random>
#include <set>

#include "kernels/formats/format.h"
#include "models/scan.h"
#include "tests/support/reference_data.h"
#include "tiny_model.h"

namespace tern::test {
namespace {

// What the scan says of scales must be what decoding the blocks says of their elements.
TEST(Scan, AgreesWithDecoding) {
    std::mt19937 random(1);
    for (const DTypeInfo& format : all_dtypes()) {
        SCOPED_TRACE(format.name);
        constexpr std::size_t kBlocks = 3000;
        std::vector<std::byte> blocks(kBlocks * format.block_bytes);
        for (std::byte& b : blocks) b = static_cast<std::byte>(random() % 4 == 0 ? 0xFF : random());
        models::Scan expected;
        std::vector<float> x(format.block);
        for (std::size_t i = 0; i < kBlocks; ++i) {
            kernels::format_ops(format.dtype).decode(blocks.data() + i * format.block_bytes, x.data(), format.block);
            const bool bad = !std::all_of(x.begin(), x.end(), [](float v) { return std::isfinite(v); });
            if (bad && expected.bad++ == 0) expected.first = i;
        }
        EXPECT_GT(expected.bad, 0u);
        EXPECT_LT(expected.bad, kBlocks);
        const models::Scan scan = models::scan_blocks(format.dtype, blocks);
        EXPECT_EQ(scan.bad, expected.bad);
        EXPECT_EQ(scan.first, expected.first);
        EXPECT_EQ(models::scan_blocks(format.dtype, std::vector<std::byte>(64 * format.block_bytes)), models::Scan{});
    }
}

class Verify : public ::testing::Test {
protected:
    void TearDown() override { std::filesystem::remove(path_); }
    Verification check(const TinyModel& model, const RuntimeOptions& options = {.threads = 2}) {
        return check(model.bytes(), options);
    }
    Verification check(const std::vector<std::byte>& bytes, const RuntimeOptions& options = {.threads = 2}) {
        std::ofstream(path_, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        return verify(Runtime(options), path_);
    }
    static std::string all(const Verification& v) {
        std::string text;
        for (const Finding& f : v.findings) text += f.part + ": " + f.problem + "\n";
        return text;
    }
    std::filesystem::path path_ =
        std::filesystem::temp_directory_path() / ("tern-verify-" + std::to_string(::getpid()) + ".gguf");
};

TEST_F(Verify, AGoodModel) {
    const Verification v = check(tiny_model());
    EXPECT_EQ(all(v), "");
    EXPECT_EQ(v.fingerprint.size(), 16u);
    EXPECT_GT(v.tensors, 20u);
    EXPECT_GT(v.bytes, 10000u);
    EXPECT_GT(v.texts, 10u);
    EXPECT_TRUE(v.has_tokenizer);
    EXPECT_FALSE(v.has_template);
}

TEST_F(Verify, TheFingerprintIsTheSameOnEveryPath) {
    std::set<std::string> seen;
    for (const TinyModel& model : {tiny_model(0, DType::Q4_0), tiny_model(4, DType::Q8_0)}) {
        std::set<std::string> of_model;
        for (const char* isa : {"scalar", "avx2", "avxvnni", "avx512", ""})
            for (const unsigned threads : {1u, 2u, 3u, 4u}) try {
                    const Verification v = check(model, {.threads = threads, .isa = isa});
                    EXPECT_EQ(all(v), "");
                    of_model.insert(v.fingerprint);
                } catch (const Error& e) {
                    EXPECT_EQ(e.code(), ErrorCode::unsupported) << e.what();
                }
        EXPECT_EQ(of_model.size(), 1u);
        seen.merge(of_model);
    }
    EXPECT_EQ(seen.size(), 2u);
}

TEST_F(Verify, TheFingerprintSeesEveryTensorAndEveryHyperparameter) {
    const std::string good = check(tiny_model(0, DType::F32)).fingerprint;
    const TinyModel base = tiny_model(0, DType::F32);
    for (std::size_t i = 0; i < base.tensors.size(); ++i) {
        TinyModel other = base;
        other.tensors[i].value = 0.75f;
        EXPECT_NE(check(other).fingerprint, good) << other.tensors[i].name;
    }
    TinyModel other = base;
    other.set("llama.rope.freq_base", TinyModel::f32(10001.0f));
    EXPECT_NE(check(other).fingerprint, good);
    other = base;
    other.set("general.name", TinyModel::text("renamed"));
    EXPECT_EQ(check(other).fingerprint, good);
}

// Puts a pattern into the first bytes of a tensor.
std::vector<std::byte> spoil(const TinyModel& model, const std::string& name, std::size_t at, std::uint16_t pattern) {
    std::vector<std::byte> bytes = model.bytes();
    const gguf::File file = gguf::File::parse(bytes, "tiny");
    const auto offset = static_cast<std::size_t>(file.find_tensor(name)->data - bytes.data());
    std::memcpy(bytes.data() + offset + at, &pattern, sizeof pattern);
    return bytes;
}

TEST_F(Verify, EveryBrokenWeightIsNamed) {
    // Q8_0: 34 bytes a block, the scale first.
    Verification v = check(spoil(tiny_model(), "blk.1.ffn_up.weight", 34 * 5, 0x7C00));
    ASSERT_GE(v.findings.size(), 1u);
    EXPECT_EQ(v.findings[0].part, "weights");
    for (const char* word : {"blk.1.ffn_up.weight", "Q8_0", "1 of", "row 5"})
        EXPECT_NE(v.findings[0].problem.find(word), std::string::npos) << v.findings[0].problem;
    // The model is computed all the same, and the logits say so, too.
    EXPECT_NE(all(v).find("logits: "), std::string::npos) << all(v);

    v = check(spoil(tiny_model(0, DType::F32), "output_norm.weight", 4 * 3 + 2, 0x7FC0));
    EXPECT_NE(all(v).find("output_norm.weight"), std::string::npos) << all(v);
    EXPECT_NE(all(v).find("column 3"), std::string::npos) << all(v);
    // Where computing never looks: the last row of the embedding.
    v = check(spoil(tiny_model(0, DType::F16), "token_embd.weight", 2 * (32 * 10 - 1), 0xFC00));
    EXPECT_NE(all(v).find("row 9, column 31"), std::string::npos) << all(v);
}

TEST_F(Verify, WhatIsWrongElsewhereIsNamed) {
    TinyModel model = tiny_model();
    model.set("llama.block_count", TinyModel::u32(1));
    EXPECT_NE(all(check(model)).find("shapes: "), std::string::npos) << all(check(model));
    model = tiny_model();
    model.tensor("blk.0.attn_q.weight").shape = {32, 33};
    EXPECT_NE(all(check(model)).find("blk.0.attn_q.weight"), std::string::npos) << all(check(model));
    EXPECT_EQ(check(model).fingerprint, "");

    model = tiny_model();
    model.set("tokenizer.ggml.eos_token_id", TinyModel::u32(99));
    const Verification v = check(model);
    EXPECT_NE(all(v).find("tokenizer: "), std::string::npos);
    EXPECT_EQ(v.findings.size(), 1u) << all(v);  // and not again for the whole model

    model = tiny_model();
    model.set("tokenizer.chat_template", TinyModel::text("{% for m in messages %}{{ m.content }"));
    EXPECT_NE(all(check(model)).find("template: "), std::string::npos) << all(check(model));

    std::vector<std::byte> bytes = tiny_model().bytes();
    bytes.resize(bytes.size() - 100);
    EXPECT_EQ(check(bytes).findings.at(0).part, "file");
    EXPECT_THROW(verify(Runtime({.threads = 1}), "/no/such/file.gguf"), Error);
}

TEST_F(Verify, Cancelling) {
    check(tiny_model());
    EXPECT_THROW(verify(Runtime({.threads = 1}), path_, {.progress = [](double) { return false; }}), Error);
    double last = 0;
    verify(Runtime({.threads = 1}), path_, {.progress = [&](double fraction) { return last = fraction, true; }});
    EXPECT_GT(last, 0.5);
}

TEST_F(Verify, ReferenceModel) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const Verification v = verify(Runtime({.threads = 2}), path);
    EXPECT_EQ(all(v), "");
    const Verification scalar = verify(Runtime({.threads = 1, .isa = "scalar"}), path);
    EXPECT_EQ(scalar.fingerprint, v.fingerprint);
}

TEST(CheckTemplate, Rules) {
    TinyModel model = tiny_model();
    const std::vector<std::byte> bytes = model.bytes();
    const Tokenizer tokenizer = Tokenizer::from_gguf(gguf::File::parse(bytes, "tiny"));
    const auto check = [&](const std::string& source) { return check_template(source, tokenizer); };
    const std::string good =
        "{% for m in messages %}{{ m.role }}: {{ m.content }}"
        "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}";
    EXPECT_TRUE(check(good).faults.empty());
    EXPECT_TRUE(check(good).warnings.empty());
    // The vocabulary adds its bos.
    const TemplateCheck twice = check("{{ bos_token }}" + good);
    ASSERT_EQ(twice.warnings.size(), 1u);
    EXPECT_NE(twice.warnings[0].find("'<s>'"), std::string::npos);
    EXPECT_TRUE(twice.faults.empty());
    ASSERT_EQ(check("\n{{ bos_token }}" + good).faults.size(), 1u);
    ASSERT_EQ(check("{{ bos_token }}{{ bos_token }}" + good).faults.size(), 1u);
    const TemplateCheck endless = check("{% for m in messages %}{{ m.content }}{% endfor %}");
    ASSERT_EQ(endless.warnings.size(), 1u);
    EXPECT_NE(endless.warnings[0].find("'</s>'"), std::string::npos);
    EXPECT_EQ(check("{% if %}").faults.size(), 1u);
    EXPECT_EQ(check("{{ raise_exception('never') }}").faults.size(), 1u);
    // Refusing a system message is a template's right.
    EXPECT_TRUE(check("{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + good)
                    .faults.empty());
}

}  // namespace
}  // namespace tern::test
