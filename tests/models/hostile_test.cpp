// Model files with one thing wrong: refused by Model::load with an Error that names the key or the tensor.
#include <gtest/gtest.h>
#include <tern/tern.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/changed_file.h"
#include "models/generated_models.h"
#include "models/tiny_model.h"
#include "support/reference_data.h"

namespace tern::test {
namespace {

using M = TinyModel;

const Runtime& runtime() {
    static const Runtime one({.threads = 1});
    return one;
}

void expect_refusal(const TinyModel& model, const std::vector<std::string>& needles,
                    ErrorCode code = ErrorCode::bad_file) {
    const std::vector<std::byte> bytes = model.bytes();
    try {
        (void)Model::load(runtime(), gguf::File::parse(bytes, "bad.gguf"));
        ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
        const std::string what = e.what();
        EXPECT_STREQ(to_string(e.code()), to_string(code)) << what;
        EXPECT_NE(what.find("bad.gguf"), std::string::npos) << what;
        for (const std::string& needle : needles) EXPECT_NE(what.find(needle), std::string::npos) << needle << " in: " << what;
        EXPECT_EQ(what.find('\n'), std::string::npos) << what;
    }
}

// Loads and computes the last logits of a short text.
std::vector<float> run(const TinyModel& model) {
    const std::vector<std::byte> bytes = model.bytes();
    const Model loaded = Model::load(runtime(), gguf::File::parse(bytes, "tiny.gguf"));
    Session session(loaded, {.context = 64, .batch = 8});
    const auto logits = session.eval(loaded.tokenizer().encode("ab abc"));
    return {logits.begin(), logits.end()};
}

void expect_finite(const TinyModel& model) {
    for (const float x : run(model)) EXPECT_TRUE(std::isfinite(x));
}

TEST(HostileModel, TheUnspoiltModelsRun) {
    expect_finite(tiny_model());
    expect_finite(tiny_model(3));
    expect_finite(tiny_model(0, DType::F16));
}

struct BadKey {
    const char* what;
    const char* key;
    M::Write write;  // empty: the key is missing
    std::uint32_t experts = 0;
    ErrorCode code = ErrorCode::bad_file;
};

void PrintTo(const BadKey& c, std::ostream* out) { *out << c.key << ' ' << c.what; }

std::vector<BadKey> bad_keys() {
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
    std::vector<BadKey> all;
    const auto integer = [&](const char* key, bool required, bool zero_is_bad, std::uint32_t experts = 0) {
        if (required) all.push_back({"missing", key, {}, experts});
        if (zero_is_bad) all.push_back({"zero", key, M::u32(0), experts});
        all.push_back({"huge", key, M::u32(4294967295u), experts});
        all.push_back({"beyond 32 bits", key, M::u64((1ull << 32) + 1), experts});
        all.push_back({"2^64-1", key, M::u64(std::numeric_limits<std::uint64_t>::max()), experts});
        all.push_back({"negative", key, M::i32(-1), experts});
        all.push_back({"text", key, M::text("many"), experts});
        all.push_back({"float", key, M::f32(2.0f), experts});
        all.push_back({"bool", key, M::flag(true), experts});
        all.push_back({"empty array", key, M::i32s({}), experts});
        all.push_back({"differing array", key, M::i32s({2, 3}), experts});
        all.push_back({"negative array", key, M::i32s({-1, -1}), experts});
        all.push_back({"array of text", key, M::texts({"2", "2"}), experts});
    };
    integer("llama.block_count", true, true);
    integer("llama.embedding_length", true, true);
    integer("llama.feed_forward_length", true, true);
    integer("llama.context_length", true, true);
    integer("llama.attention.head_count", true, true);
    integer("llama.attention.head_count_kv", false, true);
    integer("llama.attention.key_length", false, true);
    integer("llama.attention.value_length", false, true);
    integer("llama.rope.dimension_count", false, true);
    integer("llama.expert_count", false, false);
    integer("llama.expert_used_count", true, true, 3);
    // CVE-2024-8063: more layers than any file can hold.
    all.push_back({"a thousand million", "llama.block_count", M::u32(1'000'000'000)});
    all.push_back({"not dividing the width", "llama.attention.head_count", M::u32(3)});
    all.push_back({"larger than the width", "llama.attention.head_count", M::u32(64)});
    all.push_back({"not dividing the heads", "llama.attention.head_count_kv", M::u32(3)});
    all.push_back({"more than the heads", "llama.attention.head_count_kv", M::u32(5)});
    all.push_back({"odd", "llama.rope.dimension_count", M::u32(7)});
    all.push_back({"one", "llama.rope.dimension_count", M::u32(1)});
    all.push_back({"beyond the head", "llama.rope.dimension_count", M::u32(10)});
    all.push_back({"more than there are", "llama.expert_used_count", M::u32(4), 3});
    for (const char* key : {"llama.attention.layer_norm_rms_epsilon", "llama.rope.freq_base", "llama.rope.scaling.factor"}) {
        if (std::string(key).ends_with("epsilon")) all.push_back({"missing", key, {}});
        all.push_back({"zero", key, M::f32(0)});
        all.push_back({"negative", key, M::f32(-1)});
        all.push_back({"NaN", key, M::f32(kNan)});
        all.push_back({"infinite", key, M::f32(kInfinity)});
        all.push_back({"huge", key, M::f32(1e30f)});
        all.push_back({"tiny", key, M::f32(1e-38f)});
        all.push_back({"text", key, M::text("1e-5")});
        all.push_back({"array", key, M::f32s({1e-5f, 1e-5f})});
    }
    all.push_back({"unknown", "llama.rope.scaling.type", M::text("spiral"), 0, ErrorCode::unsupported});
    all.push_back({"number", "llama.rope.scaling.type", M::u32(1)});
    all.push_back({"missing", "general.architecture", {}});
    all.push_back({"number", "general.architecture", M::u32(1)});
    all.push_back({"number", "general.name", M::u32(1)});
    all.push_back({"missing", "tokenizer.ggml.model", {}});
    all.push_back({"missing", "tokenizer.ggml.tokens", {}});
    all.push_back({"numbers", "tokenizer.ggml.tokens", M::i32s({1, 2})});
    all.push_back({"empty", "tokenizer.ggml.tokens", M::texts({})});
    all.push_back({"too few", "tokenizer.ggml.scores", M::f32s({0, 1})});
    all.push_back({"unknown", "tokenizer.ggml.token_type", M::i32s(std::vector<std::int32_t>(10, 99))});
    all.push_back({"outside", "tokenizer.ggml.bos_token_id", M::u32(10)});
    return all;
}

class HostileKey : public testing::TestWithParam<BadKey> {};

TEST_P(HostileKey, IsRefusedByName) {
    const BadKey& bad = GetParam();
    TinyModel m = tiny_model(bad.experts);
    if (std::string(bad.key) == "llama.rope.scaling.factor") m.set("llama.rope.scaling.type", M::text("linear"));
    if (bad.write)
        m.set(bad.key, bad.write);
    else
        m.drop(bad.key);
    expect_refusal(m, {bad.key}, bad.code);
}

std::string key_test_name(const testing::TestParamInfo<BadKey>& p) {
    std::string out = std::to_string(p.index) + "_" + p.param.key + "_" + p.param.what;
    for (char& c : out)
        if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
    return out;
}

INSTANTIATE_TEST_SUITE_P(Keys, HostileKey, testing::ValuesIn(bad_keys()), key_test_name);

TEST(HostileModel, WidthsThatNoTensorHasAreRefusedByTheTensorsName) {
    for (const std::uint32_t width : {1u, 31u, 33u, 64u, 1u << 20}) {
        TinyModel m = tiny_model();
        m.set("llama.attention.key_length", M::u32(8));
        m.set("llama.attention.value_length", M::u32(8));
        m.set("llama.embedding_length", M::u32(width));
        expect_refusal(m, {"token_embd.weight", std::to_string(width)});
    }
    TinyModel m = tiny_model();
    m.set("llama.feed_forward_length", M::u32(1u << 24));
    expect_refusal(m, {"blk.0.ffn_gate.weight", "16777216"});
    m = tiny_model();
    m.set("llama.block_count", M::u32(3));
    expect_refusal(m, {"blk.2.attn_norm.weight", "missing"});
    m.set("llama.block_count", M::u32(1));
    expect_refusal(m, {"blk.1.", "no use"});
    m = tiny_model(3);
    m.set("llama.expert_count", M::u32(4));
    expect_refusal(m, {"blk.0.ffn_gate_inp.weight"});
    m = tiny_model();
    m.set("llama.attention.key_length", M::u32(16384));
    expect_refusal(m, {"blk.0.attn_q.weight"});
}

class HostileTensor : public testing::TestWithParam<std::uint32_t> {};

TEST_P(HostileTensor, MissingMisshapenOrOfAWrongFormatIsRefusedByName) {
    const TinyModel good = tiny_model(GetParam());
    for (const TinyModel::Tensor& t : good.tensors) {
        SCOPED_TRACE(t.name);
        TinyModel m = good;
        if (t.name != "output.weight") {  // absent: the embedding is used
            m.drop(t.name);
            expect_refusal(m, {"'" + t.name + "'", "missing"});
        }
        for (std::size_t d = 0; d < t.shape.size(); ++d) {
            if (t.name == "token_embd.weight" && d == 1) continue;  // any number of rows
            for (const std::uint64_t step : {32, -32}) {
                const std::uint64_t n = t.shape[d] + step;
                if (n == 0 || n > 96) continue;
                m = good;
                m.tensor(t.name).shape[d] = n;
                expect_refusal(m, {"'" + t.name + "'", "shape"});
            }
        }
        m = good;
        m.tensor(t.name).shape.push_back(2);
        expect_refusal(m, {"'" + t.name + "'", "shape"});
        m = good;
        m.tensor(t.name).shape = {32};
        if (t.shape.size() > 1 && t.name != "token_embd.weight") expect_refusal(m, {"'" + t.name + "'", "shape"});
        if (t.shape.size() == 1) {
            for (const DType dtype : {DType::F16, DType::BF16, DType::Q8_0}) {
                m = good;
                m.tensor(t.name).dtype = dtype;
                expect_refusal(m, {"'" + t.name + "'", to_string(dtype), "F32"});
            }
        }
        m = good;
        m.tensors.push_back(t);
        m.tensors.back().name = t.name + ".copy";
        expect_refusal(m, {t.name + ".copy", "no use"});
    }
}

INSTANTIATE_TEST_SUITE_P(Experts, HostileTensor, testing::Values(0u, 3u),
                         [](const auto& p) { return p.param ? "mixture" : "dense"; });

TEST(HostileModel, TheVocabularyMustFitTheEmbedding) {
    TinyModel m = tiny_model();
    m.tensor("token_embd.weight").shape[1] = 9;
    m.tensor("output.weight").shape[1] = 9;
    expect_refusal(m, {"token_embd.weight", "10 tokens", "9 rows"});
    m = tiny_model();
    m.tensor("token_embd.weight").shape[1] = 11;
    expect_refusal(m, {"output.weight", "11"});
    m.drop("output.weight");  // rows without a token are allowed
    expect_finite(m);
}

TEST(HostileModel, BiasesAndFactorsAreChecked) {
    const TinyModel good = tiny_model();
    TinyModel m = good;
    m.tensors.push_back({"blk.1.attn_q.bias", {32}, DType::F32, 0.5f});
    expect_refusal(m, {"blk.1.attn_q.bias"});  // all layers have it, or none
    m.tensors.push_back({"blk.0.attn_q.bias", {32}, DType::F32, 0.5f});
    expect_finite(m);
    m.tensor("blk.1.attn_q.bias").shape = {31};
    expect_refusal(m, {"blk.1.attn_q.bias", "31"});
    m.tensor("blk.1.attn_q.bias") = {"blk.1.attn_q.bias", {32}, DType::F16};
    expect_refusal(m, {"blk.1.attn_q.bias", "F16"});

    m = good;
    m.tensors.push_back({"rope_freqs.weight", {4}, DType::F32, 2.0f});
    expect_finite(m);
    for (const float bad : {-1.0f, 1e-30f, 1e30f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
        m.tensor("rope_freqs.weight").value = bad;
        expect_refusal(m, {"rope_freqs.weight"});
    }
    m.tensor("rope_freqs.weight") = {"rope_freqs.weight", {5}, DType::F32, 1.0f};
    expect_refusal(m, {"rope_freqs.weight"});
}

TEST(HostileModel, NamesAreEscapedInMessages) {
    TinyModel m = tiny_model();
    m.set("general.architecture", M::text("per\x1b[2Jcep\ntron"));
    expect_refusal(m, {"per\\x1b[2Jcep\\ntron", "known: llama"}, ErrorCode::unsupported);
    m = tiny_model();
    m.tensors.push_back({"blk.0.\x1b[2J\nx", {4}});
    expect_refusal(m, {"blk.0.\\x1b[2J\\nx"});
    m = tiny_model();
    m.set("llama.rope.scaling.type", M::text("\n"));
    expect_refusal(m, {"'\\n'"}, ErrorCode::unsupported);
}

TEST(HostileModel, BytesThatAreNotAlignedAreRefused) {
    const std::vector<std::byte> bytes = tiny_model().bytes();
    std::vector<std::byte> shifted(bytes.size() + 1);
    std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
    try {
        (void)Model::load(runtime(), gguf::File::parse(std::span(shifted).subspan(1), "odd.gguf"));
        ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::invalid_argument) << e.what();
        EXPECT_NE(std::string(e.what()).find("odd.gguf"), std::string::npos) << e.what();
    }
}

// Weights may be any bits: not-a-number and infinity come out as such and touch no other memory.
TEST(HostileModel, WeightsThatAreNotNumbersRun) {
    for (const std::uint32_t experts : {0u, 3u}) {
        for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), 1e38f}) {
            for (const char* name : {"blk.0.attn_norm.weight", "blk.1.ffn_norm.weight", "output_norm.weight"}) {
                TinyModel m = tiny_model(experts);
                m.tensor(name).value = bad;
                EXPECT_EQ(run(m).size(), 10u);
            }
        }
        for (const DType dtype : {DType::F32, DType::F16, DType::BF16}) {
            TinyModel m = tiny_model(experts, dtype);
            for (TinyModel::Tensor& t : m.tensors) t.value = std::numeric_limits<float>::max();
            EXPECT_EQ(run(m).size(), 10u);
        }
    }
}

TEST(HostileModel, EveryFormatRuns) {
    for (const DTypeInfo& format : all_dtypes()) {
        if (format.block > 32) continue;  // the rows of the tiny model are shorter
        SCOPED_TRACE(format.name);
        for (const std::uint32_t experts : {0u, 3u}) EXPECT_EQ(run(tiny_model(experts, format.dtype)).size(), 10u);
    }
}

// ---- every architecture of the reference models ------------------------------------------------------------------

class EveryModel : public testing::TestWithParam<const char*> {
protected:
    // The message of the refusal of a changed file; empty where it is accepted.
    static std::string refusal(const gguf::File& file, const Change& change) {
        const std::vector<std::byte> bytes = changed(file, change);
        try {
            (void)Model::load(runtime(), gguf::File::parse(bytes, "changed.gguf"));
        } catch (const Error& e) {
            EXPECT_TRUE(e.code() == ErrorCode::bad_file || e.code() == ErrorCode::unsupported) << e.what();
            return e.what();
        }
        return {};
    }
    // The file named NAME is refused, and the message says so.
    static void expect_named(const std::string& message, const std::string& name, const char* what) {
        EXPECT_NE(message.find("changed.gguf"), std::string::npos) << name << ' ' << what << ": " << message;
        EXPECT_NE(message.find(name), std::string::npos) << what << ": " << message;
        EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    }
};

TEST_P(EveryModel, TensorsAreNeededInTheirShape) {
    TERN_REFERENCE(path, std::string("arch/") + GetParam() + ".gguf");
    const auto file = gguf::File::open(path);
    EXPECT_EQ(refusal(file, {}), "");
    for (const gguf::Tensor& t : file.tensors()) {
        const std::string name(t.name);
        // Without one the embedding is the output, and the angles are not divided.
        const bool optional = name == "output.weight" || name == "rope_freqs.weight";
        const std::string without = refusal(file, {.drop_tensor = name});
        // One matrix of queries, keys and values stands for three: without it, the first of these is missing.
        const std::size_t fused = name.find("attn_qkv.weight");
        const std::string named = fused == name.npos ? name : name.substr(0, fused) + "attn_q.";
        if (optional)
            EXPECT_EQ(without, "") << name;
        else
            expect_named(without, named, "missing");
        // The number of rows of the embedding is the vocabulary's size, whatever it is.
        if (name != "token_embd.weight" || file.find_tensor("output.weight")) {
            const std::string misshapen = refusal(file, {.reshape = name});
            EXPECT_NE(misshapen, "") << name;
            if (name != "token_embd.weight") expect_named(misshapen, name, "misshapen");
        }
    }
    expect_named(refusal(file, {.extra = "blk.0.unheard_of.weight"}), "blk.0.unheard_of.weight", "extra");
}

TEST_P(EveryModel, KeysHaveTheirTypes) {
    TERN_REFERENCE(path, std::string("arch/") + GetParam() + ".gguf");
    const auto file = gguf::File::open(path);
    const std::string architecture(file.get("general.architecture").as_string());
    std::size_t checked = 0;
    for (const gguf::Value& v : file.metadata()) {
        const std::string key(v.key());
        if (!key.starts_with(architecture + ".")) continue;
        // The tensors say how many words there are, and a model without dense layers has no use for their width.
        if (key.ends_with(".vocab_size") || (key.ends_with(".feed_forward_length") && architecture != "llama" &&
                                             file.find(architecture + ".expert_feed_forward_length") &&
                                             !file.find(architecture + ".leading_dense_block_count")))
            continue;
        const bool text = v.type() == gguf::ValueType::string;
        const auto other = [&](gguf::Writer& w) { text ? w.add_u32(key, 7) : w.add_string(key, "many"); };
        const std::string message = refusal(file, {.drop_key = key, .add = other});
        EXPECT_NE(message.find(key), std::string::npos) << key << ": '" << message << "'";
        if (!text) {
            const auto array = [&](gguf::Writer& w) { w.add_strings(key, std::vector<std::string>{"many"}); };
            EXPECT_NE(refusal(file, {.drop_key = key, .add = array}), "") << key;
        }
        ++checked;
    }
    EXPECT_GT(checked, 6u);
}

// Whatever number a key holds: refused with an Error, or a model that computes.
void expect_any_numbers_survive(const gguf::File& file) {
    const std::string prefix = std::string(file.get("general.architecture").as_string()) + ".";
    std::size_t loaded = 0, refused = 0;
    const auto try_with = [&](const std::string& key, const std::function<void(gguf::Writer&)>& add) {
        const std::vector<std::byte> bytes = changed(file, {.drop_key = key, .add = add});
        try {
            const Model model = Model::load(runtime(), gguf::File::parse(bytes, "numbers.gguf"));
            const std::uint32_t context = std::min<std::uint32_t>(8, model.info().context_length);
            Session session(model, {.context = context, .batch = 4});
            const std::vector<TokenId> tokens(std::min<std::uint32_t>(3, context), 1);
            EXPECT_EQ(session.eval(tokens).size(), model.info().vocab_size) << key;
            ++loaded;
        } catch (const Error& e) {
            EXPECT_TRUE(e.code() == ErrorCode::bad_file || e.code() == ErrorCode::unsupported ||
                        e.code() == ErrorCode::out_of_memory)
                << key << ": " << e.what();
            ++refused;
        }
    };
    for (const gguf::Value& v : file.metadata()) {
        const std::string key(v.key());
        if (!key.starts_with(prefix)) continue;
        if (v.type() == gguf::ValueType::u32)
            for (const std::uint32_t n : {0u, 1u, 2u, 3u, 4u, 6u, 8u, 24u, 64u, 255u, 65536u, 0x7fffffffu, 0xffffffffu})
                try_with(key, [&](gguf::Writer& w) { w.add_u32(key, n); });
        if (v.type() == gguf::ValueType::f32)
            for (const float x : {0.0f, -1.0f, 1.0f, 1e-30f, 1e-9f, 1e9f, 1e30f, std::numeric_limits<float>::infinity(),
                                  std::nanf("")})
                try_with(key, [&](gguf::Writer& w) { w.add_f32(key, x); });
    }
    EXPECT_GT(refused, 20u);
    EXPECT_GT(loaded, 2u);
}

TEST_P(EveryModel, AnyNumbersAreSurvived) {
    TERN_REFERENCE(path, std::string("arch/") + GetParam() + ".gguf");
    expect_any_numbers_survive(gguf::File::open(path));
}

TEST(HostileModel, AnyNumbersInGeneratedModelsAreSurvived) {
    for (const GeneratedModel& model : kGenerated) {
        SCOPED_TRACE(model.name);
        const std::vector<std::byte> bytes = generate(model);
        expect_any_numbers_survive(gguf::File::parse(bytes, model.name));
    }
}

// GPT-2 has learned so many positions and no others.
TEST(HostileModel, AContextBeyondTheLearnedPositionsIsRefused) {
    TERN_REFERENCE(path, "arch/gpt2.gguf");
    const Model model = Model::load(runtime(), path);
    EXPECT_NO_THROW(Session(model, {.context = 256, .batch = 4}));
    EXPECT_NO_THROW(Session(model, {.batch = 4}));
    try {
        Session(model, {.context = 257, .batch = 4});
        ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
        EXPECT_NE(std::string(e.what()).find("256"), std::string::npos) << e.what();
    }
}

INSTANTIATE_TEST_SUITE_P(Models, EveryModel,
                         testing::Values("llama", "mixtral", "command-r", "deepseek2", "falcon", "gemma2", "gemma3", "gpt-oss",
                                         "gpt2", "granite", "olmo2", "phi2", "phi3", "qwen2", "qwen3", "qwen3moe", "smollm3",
                                         "starcoder2"),
                         [](const auto& p) {
                             std::string name = p.param;
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

TEST(HostileModel, AnUnknownArchitectureIsRefusedWithTheListOfKnownOnes) {
    TinyModel m = tiny_model();
    m.set("general.architecture", M::text("perceptron"));
    expect_refusal(m, {"perceptron", "llama", "qwen3moe", "gemma3", "gpt-oss", "deepseek2", "starcoder2"}, ErrorCode::unsupported);
}

}  // namespace
}  // namespace tern::test
