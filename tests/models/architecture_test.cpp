// Whole models against the peer's logits, and broken model files.
#include <gtest/gtest.h>
#include <tern/tern.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <sstream>

#include "changed_file.h"
#include "kernels/registry.h"
#include "support/nmse.h"
#include "support/reference_data.h"

namespace tern {
namespace {

using test::changed;

std::vector<TokenId> reference_tokens(const std::filesystem::path& dir) {
    std::istringstream in(test::read_file(dir / "tokens.txt"));
    std::vector<TokenId> tokens;
    for (TokenId id; in >> id;) tokens.push_back(id);
    return tokens;
}

std::vector<float> logits(const Runtime& runtime, const gguf::File& file, std::span<const TokenId> tokens, std::size_t chunk,
                          KvType kv = KvType::f32) {
    const std::filesystem::path path = file.name();
    Session session(Model::load(runtime, path), {.context = 256, .kv_type = kv, .batch = 64});
    std::vector<float> all;
    for (std::size_t i = 0; i < tokens.size(); i += chunk) {
        const Append item{.tokens = tokens.subspan(i, std::min(chunk, tokens.size() - i)), .all_logits = true};
        const auto rows = session.eval(std::span(&item, 1));
        all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
}

// The logits of a sequence that shares its steps with two others, all in pieces of random sizes.
std::vector<float> logits_in_company(const Runtime& runtime, const gguf::File& file, std::span<const TokenId> tokens,
                                     unsigned seed) {
    Session session(Model::load(runtime, std::filesystem::path(file.name())),
                    {.context = 256, .sequences = 3, .kv_type = KvType::f32, .batch = 64});
    std::mt19937 random(seed);
    // The others read the tokens backwards.
    const std::vector<TokenId> backwards(tokens.rbegin(), tokens.rend());
    std::vector<float> all;
    std::size_t done[3] = {};
    while (done[0] < tokens.size()) {
        std::vector<Append> items;
        std::size_t count[3] = {};
        for (const std::uint32_t sequence : {1u, 0u, 2u}) {
            const std::size_t most = std::min<std::size_t>(tokens.size() - done[sequence], random() % 2 ? 3 : 40);
            count[sequence] = sequence == 0 ? 1 + random() % most : random() % (most + 1);
            if (count[sequence] == 0) continue;
            const std::span<const TokenId> from = sequence == 0 ? tokens : std::span<const TokenId>(backwards);
            items.push_back(
                {.sequence = sequence, .tokens = from.subspan(done[sequence], count[sequence]), .all_logits = true});
            done[sequence] += count[sequence];
        }
        const auto rows = session.eval(items);
        const std::size_t width = rows.size() / (count[0] + count[1] + count[2]);
        const auto own = rows.subspan(count[1] * width, count[0] * width);
        all.insert(all.end(), own.begin(), own.end());
    }
    return all;
}

// How far a model may be from the peer: with f32 KV, where both compute the same and only round otherwise; with the
// narrower types, whose noise each model takes in its own way.
struct Case {
    const char* name;
    double f32 = 1e-9;
    // f16 keeps 11 bits of K and V.
    double f16 = 1e-5;
    // A step of amax / 127 in a block of 32 is noise of at most 32 / (12 * 127^2) of its power, 1.7e-4; the residual
    // stream adds the layers' noise to a signal that grows as well.
    double q8_0 = 2e-3;
    // By the same reckoning a step of amax / 8 is noise of up to 32 / (12 * 64), 4 %, of a block's power; where the
    // magnitudes are alike, as they mostly are, it is some tenth of that.
    double q4_0 = 0.05;
    bool all = false;  // all numbers of threads with all pieces and KV types: llama and mixtral stand for the others
};
// The peer's GELU comes from a table of half-precision numbers.
constexpr double kGelu = 1e-6;
// The peer quantises what it multiplies with MXFP4 experts to blocks of Q8_0 with an f16 scale. As Tern quantises, too, a
// change in the last bit of K or V may move activations by a whole step, and the choice of experts with them.
constexpr double kMxfp4 = 1e-4;
constexpr Case kCases[] = {
    {.name = "llama", .all = true},
    {.name = "mixtral", .all = true},
    {.name = "command-r"},
    {.name = "deepseek2"},
    {.name = "falcon", .f32 = kGelu},
    {.name = "gemma2", .f32 = kGelu},
    {.name = "gemma3", .f32 = kGelu},
    {.name = "gpt-oss", .f32 = kMxfp4, .f16 = 2e-3, .q8_0 = 2e-2, .q4_0 = 0.1},
    {.name = "gpt2", .f32 = kGelu},
    {.name = "granite"},
    {.name = "olmo2"},
    {.name = "phi2", .f32 = kGelu},
    {.name = "phi3"},
    {.name = "qwen2"},
    {.name = "qwen3"},
    {.name = "qwen3moe"},
    {.name = "smollm3"},
    {.name = "starcoder2", .f32 = kGelu},
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
std::string name_of(const Case& c) {
    std::string name = c.name;
    for (char& letter : name)
        if (letter == '-') letter = '_';
    return name;
}

class Golden : public testing::TestWithParam<Case> {};

TEST_P(Golden, EqualsThePeerOnEveryPath) {
    TERN_REFERENCE(dir, "arch");
    const Case& c = GetParam();
    const auto file = gguf::File::open(dir / (std::string(c.name) + ".gguf"));
    const auto expected = test::read_array<float>(dir / (std::string(c.name) + ".logits"));
    const std::vector<TokenId> tokens = reference_tokens(dir);
    const Runtime scalar({.threads = 1, .isa = "scalar"});
    const std::vector<float> first = logits(scalar, file, tokens, tokens.size());
    ASSERT_EQ(first.size(), expected.size());
    EXPECT_LT(test::nmse(first, expected), c.f32);

    const std::vector<float> half = logits(Runtime({.threads = 1}), file, tokens, tokens.size(), KvType::f16);
    EXPECT_LT(test::nmse(half, expected), c.f16 + c.f32);
    EXPECT_NE(std::memcmp(half.data(), first.data(), first.size() * sizeof(float)), 0) << "f16 KV was not used";
    const std::vector<float> narrow = logits(scalar, file, tokens, tokens.size(), KvType::q8_0);
    EXPECT_LT(test::nmse(narrow, expected), c.q8_0 + c.f32);
    EXPECT_GT(test::nmse(narrow, first), test::nmse(half, first)) << "q8_0 KV was not used";
    const std::vector<float> least = logits(scalar, file, tokens, tokens.size(), KvType::q4_0);
    EXPECT_LT(test::nmse(least, expected), c.q4_0 + c.f32);
    EXPECT_GT(test::nmse(least, first), test::nmse(narrow, first)) << "q4_0 KV was not used";

    const kernels::IsaList isas = kernels::isas(kernels::detect_cpu());
    for (std::size_t i = 0; i < isas.count; ++i) {
        if (!isas.items[i].usable) continue;
        for (const unsigned threads : c.all ? std::vector{1u, 2u, 3u, 5u} : std::vector{1u, 3u}) {
            const Runtime runtime({.threads = threads, .isa = isas.items[i].name});
            for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, std::size_t{64}, tokens.size()}) {
                for (const KvType kv : {KvType::f32, KvType::q8_0, KvType::q4_0}) {
                    if (kv != KvType::f32 && !c.all && chunk != 7) continue;
                    const std::vector<float>& want = kv == KvType::f32 ? first : kv == KvType::q8_0 ? narrow : least;
                    const std::vector<float> other = logits(runtime, file, tokens, chunk, kv);
                    ASSERT_EQ(other.size(), want.size());
                    EXPECT_EQ(std::memcmp(other.data(), want.data(), want.size() * sizeof(float)), 0)
                        << isas.items[i].name << ", " << threads << " threads, chunks of " << chunk
                        << (kv == KvType::f32 ? "" : kv == KvType::q8_0 ? ", q8_0 KV" : ", q4_0 KV");
                }
            }
            const std::vector<float> mixed = logits_in_company(runtime, file, tokens, threads);
            ASSERT_EQ(mixed.size(), first.size());
            EXPECT_EQ(std::memcmp(mixed.data(), first.data(), first.size() * sizeof(float)), 0)
                << isas.items[i].name << ", " << threads << " threads, in company";
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, testing::ValuesIn(kCases), [](const auto& p) { return name_of(p.param); });

// A model that nobody compares would be a model that nobody tests.
TEST(Models, EveryReferenceModelIsACase) {
    TERN_REFERENCE(dir, "arch");
    for (const auto& entry : std::filesystem::directory_iterator(dir)) {
        if (entry.path().extension() != ".gguf") continue;
        const std::string stem = entry.path().stem().string();
        EXPECT_TRUE(std::any_of(std::begin(kCases), std::end(kCases), [&](const Case& c) { return stem == c.name; })) << stem;
    }
}

// ---- broken files -------------------------------------------------------------------------------------------------

std::string load_error(const std::vector<std::byte>& bytes, ErrorCode code = ErrorCode::bad_file) {
    try {
        Model::load(Runtime({.threads = 1}), gguf::File::parse(bytes, "changed.gguf"));
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), code) << e.what();
        return e.what();
    }
    ADD_FAILURE() << "the file was accepted";
    return {};
}

class Broken : public testing::TestWithParam<const char*> {
protected:
    static bool says(const std::string& message, const std::string& part) {
        if (message.find(part) != std::string::npos) return true;
        ADD_FAILURE() << "'" << message << "' does not name '" << part << "'";
        return false;
    }
};

TEST_P(Broken, IsNamed) {
    TERN_REFERENCE(path, std::string("arch/") + GetParam() + ".gguf");
    const auto file = gguf::File::open(path);
    EXPECT_NO_THROW(Model::load(Runtime({.threads = 1}), gguf::File::parse(changed(file, {}), "same.gguf")));
    for (const gguf::Tensor& t : file.tensors()) {
        const std::string name(t.name);
        if (name == "output.weight" || name == "rope_freqs.weight") continue;  // optional
        says(load_error(changed(file, {.drop_tensor = name})), name);
        if (name != "token_embd.weight") says(load_error(changed(file, {.reshape = name})), name);
    }
    says(load_error(changed(file, {.extra = "blk.0.unheard_of.weight"})), "blk.0.unheard_of.weight");
    for (const char* key : {"block_count", "embedding_length", "attention.head_count", "feed_forward_length",
                            "context_length", "attention.layer_norm_rms_epsilon"}) {
        const std::string full = std::string("llama.") + key;
        says(load_error(changed(file, {.drop_key = full})), full);
        says(load_error(changed(file, {.drop_key = full, .add = [&](auto& w) { w.add_string(full, "many"); }})), full);
        says(load_error(changed(file, {.drop_key = full, .add = [&](auto& w) { w.add_i32(full, -1); }})), full);
    }
    // CVE-2024-8063: a number of layers that no file can hold.
    says(load_error(changed(file, {.drop_key = "llama.block_count",
                                   .add = [](auto& w) { w.add_u32("llama.block_count", 4000000000u); }})),
         "llama.block_count");
    says(load_error(changed(file, {.drop_key = "llama.attention.head_count_kv",
                                   .add = [](auto& w) { w.add_u32("llama.attention.head_count_kv", 3); }})),
         "heads");
    says(load_error(changed(file, {.drop_key = "general.architecture",
                                   .add = [](auto& w) { w.add_string("general.architecture", "perceptron"); }}),
                    ErrorCode::unsupported),
         "llama");
    says(load_error(changed(file, {.drop_key = "llama.rope.scaling.type",
                                   .add = [](auto& w) { w.add_string("llama.rope.scaling.type", "spiral"); }}),
                    ErrorCode::unsupported),
         "spiral");
}

INSTANTIATE_TEST_SUITE_P(Models, Broken, testing::Values("llama", "mixtral"),
                         [](const auto& p) { return std::string(p.param); });

// The refusal lists what the registry has.
TEST(Models, ReadmeNamesEveryArchitecture) {
    const std::string readme = test::read_file(std::filesystem::path(TERN_SOURCE_DIR) / "README.md");
    gguf::Writer out;
    out.add_string("general.architecture", "perceptron");
    const float one = 1.0f;
    out.add_tensor("w", DType::F32, std::vector<std::uint64_t>{1}, std::as_bytes(std::span(&one, 1)));
    const std::string message = load_error(out.to_bytes(), ErrorCode::unsupported);
    std::istringstream names(message.substr(message.find("known: ") + 7));
    std::size_t n = 0;
    for (std::string name; std::getline(names >> std::ws, name, ','); ++n)
        EXPECT_NE(readme.find("`" + name + "`"), std::string::npos) << name;
    EXPECT_GT(n, 20u);
}

TEST(Models, VocabularyOnlyFilesAreRefused) {
    TERN_REFERENCE(path, "vocab/gpt-2.gguf");
    try {
        Model::load(Runtime({.threads = 1}), path);
        FAIL();
    } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find("no tensors"), std::string::npos) << e.what();
    }
}

TEST(Models, RandomShapes) {
    const Runtime runtime({.threads = 2});
    const Model model = Model::random(runtime, {.shape = "tiny-110m", .format = "Q4_0"});
    EXPECT_EQ(model.info().layers, 12u);
    EXPECT_EQ(model.info().format, "Q4_0");
    Session session(model, {.context = 64});
    const std::vector<TokenId> tokens{1, 2, 3};
    for (const float x : session.eval(tokens)) ASSERT_TRUE(std::isfinite(x));
    EXPECT_THROW(Model::random(runtime, {.shape = "huge", .format = "Q8_0"}), Error);
    EXPECT_THROW(Model::random(runtime, {.shape = "tiny-110m", .format = "Q9_9"}), Error);
}

}  // namespace
}  // namespace tern
