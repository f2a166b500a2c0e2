// A request gives the same bits whatever happens around it.
#include <fstream>
#include <future>
#include <random>
#include <thread>

#include "engine/support.h"

namespace tern::test {
namespace {

std::vector<Request> requests(std::size_t n, unsigned vocab, std::size_t longest) {
    std::vector<Request> all;
    for (std::size_t i = 0; i < n; ++i) {
        // Some share their beginnings, up to and beyond a page.
        std::vector<TokenId> prompt = some_tokens(1 + (i * 53) % longest, i % 3 == 0 ? 7 : static_cast<unsigned>(i), vocab);
        Request r = ids(std::move(prompt), 1 + static_cast<std::uint32_t>(i * 37 % 130), i);
        if (i % 5 == 0) r.sampling.temperature = 0;
        all.push_back(std::move(r));
    }
    return all;
}

void among_others(const Model& model, unsigned vocab, std::size_t longest) {
    const std::size_t n = kSanitized ? 9 : 34;
    const std::vector<Request> all = requests(n, vocab, longest);
    std::vector<Answer> expected;
    for (const Request& r : all) expected.push_back(alone(model, r));
    struct Case {
        EngineOptions options;
        const char* what;
    };
    const std::uint64_t page = Engine::plan(model, {.kv_memory = MiB, .context = 64}).kv_per_token * 64;
    const Case cases[] = {
        {{.kv_memory = 200 * page, .context = 320}, "roomy"},
        {{.kv_memory = 200 * page, .context = 320, .batch = 7, .parallel = 5}, "small steps"},
        {{.kv_memory = 200 * page, .context = 320, .prefill_budget = 1}, "a prompt token at a time"},
        {{.kv_memory = 200 * page, .context = 320, .prefill_budget = 13, .prefix_cache = false}, "no prefix cache"},
        {{.kv_memory = 6 * page, .context = 320, .prefill_budget = 40}, "few pages"},
        {{.kv_memory = 6 * page, .context = 320, .prefill_budget = 40, .park_memory = MiB}, "few pages, parked ones copied"},
        {{.kv_memory = 6 * page, .context = 320, .prefill_budget = 40, .prefix_cache = false}, "few pages, no prefix cache"},
    };
    for (const Case& c : cases) {
        Engine engine(model, c.options);
        std::mt19937 random(5);
        for (int round = 0; round < 2; ++round) {
            // Where pages are few the engine begins when all requests are there, so that what happens is always the same.
            const bool few = c.options.kv_memory == 6 * page;
            std::promise<void> gate, reached;
            Request first = ids({1}, 1);
            first.on_piece = [&reached, opened = gate.get_future().share()](const Piece&) {
                reached.set_value();
                opened.wait();
            };
            Reply guard = engine.submit(first);
            reached.get_future().wait();
            if (!few) gate.set_value();
            std::vector<std::size_t> order(n);
            for (std::size_t i = 0; i < n; ++i) order[i] = i;
            std::shuffle(order.begin(), order.end(), random);
            std::vector<std::pair<std::size_t, Reply>> running;
            for (const std::size_t i : order) {
                Request r = all[i];
                r.priority = static_cast<std::int32_t>(random() % 3);
                running.emplace_back(i, engine.submit(std::move(r)));
                if (!few && random() % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
            }
            if (few) gate.set_value();
            for (auto& [i, reply] : running)
                EXPECT_EQ(answers(reply, 1)[0], expected[i]) << c.what << ", request " << i << ", round " << round;
        }
        if (!kSanitized && c.options.kv_memory == 6 * page) {
            EXPECT_GT(engine.status().parks, 0u) << c.what;
        }
        expect_no_page_lost(engine);
    }
}

TEST(Bits, AmongOthers) { among_others(tiny(), 10, 180); }
TEST(Bits, AmongOthersOnATrainedModel) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    among_others(Model::load(Runtime({.threads = 2}), path), 512, 180);
}

// Layers with sliding windows, whose pages are freed behind them.
TEST(Bits, AmongOthersWithWindows) {
    for (const char* name : {"gemma2", "gemma3", "gpt-oss"}) {
        TERN_REFERENCE(path, std::string("arch/") + name + ".gguf");
        SCOPED_TRACE(name);
        among_others(Model::load(Runtime({.threads = 2}), path), 320, 110);
    }
}

TEST(Bits, AnyNumberOfThreads) {
    const Request r = ids(some_tokens(150, 3, 10), 30);
    const Answer expected = alone(tiny(1), r);
    for (const unsigned threads : {2u, 3u, 5u}) EXPECT_EQ(alone(tiny(threads), r), expected) << threads;
}

TEST(Bits, AHitGivesWhatComputingGives) {
    for (const KvType type : {KvType::f32, KvType::f16, KvType::q8_0, KvType::q4_0}) {
        const Model model = tiny();
        Engine engine(model, {.kv_type = type});
        const std::vector<TokenId> text = some_tokens(400, 9, 10);
        for (const std::size_t length : {1u, 63u, 64u, 65u, 128u, 200u, 256u, 257u, 400u}) {
            const Request r = ids({text.begin(), text.begin() + static_cast<std::ptrdiff_t>(length)}, 20, length);
            const Answer expected = alone(model, r, type);
            for (int turn = 0; turn < 2; ++turn) {
                Reply reply = engine.submit(r);
                EXPECT_EQ(answers(reply, 1)[0], expected) << length;
                // All but the last token, whose logits are needed.
                if (turn == 1) {
                    EXPECT_EQ(reply.timings().cached_tokens, length - 1);
                }
            }
        }
        expect_no_page_lost(engine);
    }
}

// A next turn repeats the prompt and what was generated, and computes only what is new.
TEST(Bits, AConversationsNextTurnIsAHit) {
    const Model model = tiny();
    Engine engine(model);
    std::vector<TokenId> text = some_tokens(90, 4, 10);
    for (int turn = 0; turn < 6; ++turn) {
        const Request r = ids(text, 25, static_cast<std::uint64_t>(turn));
        Reply reply = engine.submit(r);
        const Answer a = answers(reply, 1)[0];
        EXPECT_EQ(a, alone(model, r)) << turn;
        if (turn > 0) {
            // The last generated token of the turn before was never computed, and 10 tokens are new.
            EXPECT_EQ(reply.timings().cached_tokens, text.size() - 11);
        }
        text.insert(text.end(), a.tokens.begin(), a.tokens.end());
        const std::vector<TokenId> more = some_tokens(11, static_cast<unsigned>(turn), 10);
        text.insert(text.end(), more.begin() + 1, more.end());
    }
}

TEST(Bits, SamplesAreRequestsOfTheirOwn) {
    const Model model = tiny();
    for (const std::uint32_t parallel : {1u, 3u, 16u}) {
        Engine engine(model, {.parallel = parallel});
        for (const std::size_t length : {1u, 64u, 100u}) {
            Request r = ids(some_tokens(length, 5, 10), 30, 77);
            r.samples = 7;
            Reply reply = engine.submit(r);
            const std::vector<Answer> all = answers(reply, r.samples);
            for (std::uint32_t i = 0; i < r.samples; ++i) {
                Request own = ids(some_tokens(length, 5, 10), 30, 77 + i);
                EXPECT_EQ(all[i], alone(model, own)) << "sample " << i << " of " << length << ", parallel " << parallel;
            }
        }
        expect_no_page_lost(engine);
    }
}

TEST(Bits, SamplesShareTheirPrompt) {
    const Model model = tiny();
    const std::uint64_t page = Engine::plan(model, {.kv_memory = MiB, .context = 64}).kv_per_token * 64;
    // 10 pages of prompt and one page each: room for the samples only if the prompt is there once.
    Engine engine(model, {.kv_memory = 16 * page, .context = 1024});
    Request r = ids(some_tokens(640, 5, 10), 40, 1);
    r.samples = 5;
    Reply reply = engine.submit(r);
    answers(reply, 5);
    EXPECT_EQ(engine.status().parks, 0u);
}

TEST(Bits, SavedAndRestored) {
    const auto folder = std::filesystem::temp_directory_path() / ("tern_save_" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) + "_" + std::to_string(std::random_device{}()));
    std::filesystem::create_directory(folder);
    const Model model = tiny();
    for (const KvType type : {KvType::f32, KvType::f16, KvType::q8_0, KvType::q4_0})
        for (const std::size_t length : {1u, 64u, 100u, 300u}) {
            const auto file = folder / "sequence";
            const std::vector<TokenId> text = some_tokens(length, 8, 10);
            {
                Engine engine(model, {.kv_type = type});
                engine.save(text, file);
                expect_no_page_lost(engine);
            }
            std::vector<TokenId> longer = text;
            longer.push_back(5);
            const Request r = ids(longer, 30, 3);
            Engine engine(model, {.kv_type = type});
            EXPECT_EQ(engine.restore(file), text);
            Reply reply = engine.submit(r);
            EXPECT_EQ(answers(reply, 1)[0], alone(model, r, type)) << length;
            EXPECT_EQ(reply.timings().cached_tokens, length);
            expect_no_page_lost(engine);
            // The same file in a session.
            Session session(model, {.context = 512, .kv_type = type}), whole(model, {.context = 512, .kv_type = type});
            EXPECT_EQ(session.restore(0, file), text);
            EXPECT_EQ(session.position(), length);
            const std::vector<TokenId> next{5};
            const auto restored = session.eval(next);
            const auto computed = whole.eval(longer);
            EXPECT_EQ(std::memcmp(restored.data(), computed.data(), computed.size_bytes()), 0) << length;
        }
    std::filesystem::remove_all(folder);
}

TEST(Bits, SavedAndRestoredWithWindows) {
    TERN_REFERENCE(path, "arch/gemma3.gguf");
    const auto folder = std::filesystem::temp_directory_path() / ("tern_windows_" + std::to_string(std::random_device{}()));
    std::filesystem::create_directory(folder);
    const auto file = folder / "sequence";
    const Model model = Model::load(Runtime({.threads = 2}), path);
    for (const std::size_t length : {20u, 64u, 150u}) {
        const std::vector<TokenId> text = some_tokens(length, 8, 320);
        {
            Engine engine(model);
            engine.save(text, file);
            expect_no_page_lost(engine);
        }
        std::vector<TokenId> longer = text;
        longer.push_back(5);
        const Request r = ids(longer, 70, 3);
        Engine engine(model);
        EXPECT_EQ(engine.restore(file), text);
        EXPECT_EQ(answer(engine.submit(r)), alone(model, r)) << length;
        expect_no_page_lost(engine);
        Session session(model, {.context = 256}), whole(model, {.context = 256});
        EXPECT_EQ(session.restore(0, file), text);
        const std::vector<TokenId> next{5};
        const auto restored = session.eval(next);
        const auto computed = whole.eval(longer);
        EXPECT_EQ(std::memcmp(restored.data(), computed.data(), computed.size_bytes()), 0) << length;
    }
    std::filesystem::remove_all(folder);
}

TEST(Bits, AFileThatIsNotOursChangesNothing) {
    const auto folder = std::filesystem::temp_directory_path() / ("tern_bad_" + std::to_string(std::random_device{}()));
    std::filesystem::create_directory(folder);
    const Model model = tiny();
    const auto file = folder / "sequence", spoilt = folder / "spoilt";
    const std::vector<TokenId> text = some_tokens(150, 8, 10);
    Engine(model).save(text, file);
    const std::string good = read_file(file);
    const auto refused = [&](const std::string& bytes, ErrorCode code, const char* word) {
        std::ofstream(spoilt, std::ios::binary) << bytes;
        Engine engine(model);
        Session session(model, {.context = 256});
        session.eval(text);
        const EngineStatus before = engine.status();
        try {
            engine.restore(spoilt);
            ADD_FAILURE() << "restored: " << word;
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), code) << e.what();
            EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
        }
        EXPECT_THROW(session.restore(0, spoilt), Error);
        EXPECT_EQ(session.position(), text.size());
        EXPECT_EQ(engine.status().pages_free, before.pages_free);
        Reply reply = engine.submit(ids(text, 5));
        reply.wait();
        EXPECT_EQ(reply.timings().cached_tokens, 0u);
    };
    refused("", ErrorCode::bad_file, "no saved sequence");
    refused("GGUF" + good.substr(4), ErrorCode::bad_file, "no saved sequence");
    for (std::size_t n = 9; n < good.size(); n += 1 + n / 3)
        refused(good.substr(0, n), ErrorCode::bad_file, n < 64 ? "no saved sequence" : "cut off");
    refused(good.substr(0, good.size() - 1), ErrorCode::bad_file, "cut off");
    refused(good + "x", ErrorCode::bad_file, "too long");
    for (const std::size_t at : {70u, 700u, 5000u}) {
        std::string bytes = good;
        bytes[at] = static_cast<char>(bytes[at] ^ 4);
        refused(bytes, ErrorCode::bad_file, "damaged");
    }
    std::string version = good;
    version[8] = 9;
    refused(version, ErrorCode::bad_file, "version 9");
    // Of another model and of another KV type.
    Engine(tiny(2, 1024, 3)).save(text, spoilt);
    refused(read_file(spoilt), ErrorCode::bad_file, "another model");
    Engine(model, {.kv_type = KvType::f32}).save(text, spoilt);
    refused(read_file(spoilt), ErrorCode::bad_file, "KV type");
    EXPECT_THROW(Engine(model).restore(folder / "missing"), Error);
    EXPECT_THROW(Engine(model).save(text, folder / "no" / "such"), Error);
    // A pool that is too small.
    const std::uint64_t page = Engine::plan(model, {.kv_memory = MiB, .context = 64}).kv_per_token * 64;
    Engine small(model, {.kv_memory = 2 * page, .context = 128});
    EXPECT_THROW(small.restore(file), Error);
    expect_no_page_lost(small);
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tern::test
