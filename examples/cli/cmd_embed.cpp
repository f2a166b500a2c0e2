// tern embed: texts as vectors.
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common.h"

namespace tern::cli {
namespace {

struct EmbedArgs {
    std::string model;
    std::string pre;
    std::vector<std::string> texts;
    std::string pooling;
    bool raw = false;
    bool json = false;
    std::uint32_t batch = 512;
    RuntimeArgs runtime;
};

std::optional<Pooling> pooling_named(const std::string& name) {
    for (const Pooling p : {Pooling::mean, Pooling::cls, Pooling::last, Pooling::rank})
        if (name == to_string(p)) return p;
    return std::nullopt;
}

std::vector<std::string> lines_of(const std::string& all) {
    std::vector<std::string> lines;
    std::istringstream in(all);
    for (std::string line; std::getline(in, line);) lines.push_back(std::move(line));
    return lines;
}

int run(const EmbedArgs& options) {
    const Runtime runtime = make_runtime(options.runtime);
    const Model model = load_model(runtime, model_path(options.model), options.runtime.lock, options.pre);
    std::optional<Progress> bar;
    Embedder embedder(model, {.pooling = pooling_named(options.pooling),
                              .normalize = !options.raw,
                              .batch = options.batch,
                              .progress = [&bar](double fraction) {
                                  bar->update(fraction);
                                  return true;
                              }});
    const std::vector<std::string> texts = options.texts.empty() ? lines_of(read_stdin()) : options.texts;
    std::vector<std::vector<TokenId>> tokens;
    for (const std::string& text : texts) tokens.push_back(model.tokenizer().encode(text));
    const Stopwatch watch;
    bar.emplace("uploading");
    const std::vector<std::vector<float>> vectors = embedder.embed(tokens);
    bar.reset();
    if (options.runtime.verbose) {
        std::size_t count = 0;
        for (const auto& ids : tokens) count += ids.size();
        print_note(fmt::format("{} texts, {} tokens, pooling {}: {:.1f} ms, {:.0f} tokens/s", texts.size(), count,
                               to_string(embedder.pooling()), watch.ms(),
                               per_second(static_cast<double>(count), watch.ms())));
    }
    if (options.json) {
        // As the shortest decimals that name the same f32.
        nlohmann::ordered_json rows = nlohmann::ordered_json::array();
        for (const std::vector<float>& vector : vectors) {
            nlohmann::ordered_json row = nlohmann::ordered_json::array();
            for (const float x : vector) row.push_back(std::stod(fmt::format("{}", x)));
            rows.push_back(std::move(row));
        }
        print_json({{"embeddings", rows}, {"tokens", tokens}});
        return 0;
    }
    std::string out;
    for (const std::vector<float>& vector : vectors) out += fmt::format("{}\n", fmt::join(vector, " "));
    print_out(out);
    return 0;
}

}  // namespace

void add_embed(CLI::App& program, Action& action) {
    const auto o = std::make_shared<EmbedArgs>();
    CLI::App* command = add_command(program, action, "embed", "Prints texts as vectors, a line each.", o, run);
    command->add_option("TEXT", o->texts, "the texts; the lines of stdin where absent");
    command->add_flag("--no-normalize", o->raw, "as the model gives them, not of length 1");
    command->add_option("--pooling", o->pooling, "mean, cls, last or rank (the model's own)")
        ->option_text("NAME")
        ->check(CLI::IsMember({"mean", "cls", "last", "rank"}));
    command->add_option("--batch", o->batch, "tokens computed at once (512)")->option_text("N");
    command->add_flag("--json", o->json, "{embeddings, tokens} as one JSON document");
    add_model_option(command, o->model);
    add_pre_option(command, o->pre);
    add_runtime_options(command, o->runtime);
    command->footer("Example:\n  tern embed -m bge-small.gguf \"a text\" \"another\"");
}

}  // namespace tern::cli
