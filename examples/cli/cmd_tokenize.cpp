// tern tokenize: the ids of a text.
#include "common.h"

namespace tern::cli {
namespace {

struct TokenizeOptions {
    std::string model;
    std::string pre;
    std::string text;
    bool has_text = false;
    std::string file;
    bool no_bos = false;
    bool parse_special = false;
};

int run(const TokenizeOptions& options) {
    // The vocabulary alone: no runtime, no weights.
    const auto file = gguf::File::open(model_path(options.model), {.need_data = false});
    const Tokenizer tokenizer = Tokenizer::from_gguf(file, {.pre = options.pre});
    const std::string text = !options.file.empty()                          ? read_bytes(options.file)
                             : options.has_text && options.text != "-" ? options.text
                                                                            : read_stdin();
    print_json(tokenizer.encode(text, {.add_special = !options.no_bos, .parse_special = options.parse_special}));
    return 0;
}

}  // namespace

void add_tokenize(CLI::App& program, Action& action) {
    const auto o = std::make_shared<TokenizeOptions>();
    CLI::App* command = add_command(program, action, "tokenize", "Prints a text's token ids as a JSON array.", o, run);
    command->add_option("TEXT", o->text, "the text; stdin, byte for byte, where absent or -")->each([o](const std::string&) {
        o->has_text = true;
    });
    command->add_option("--file", o->file, "the exact bytes of a file instead")->option_text("FILE")->excludes("TEXT");
    command->add_flag("--no-bos", o->no_bos, "no special tokens at either end");
    command->add_flag("--parse-special", o->parse_special, "text such as <s> becomes the token of that name");
    add_model_option(command, o->model);
    add_pre_option(command, o->pre);
    command->footer("Example:\n  tern tokenize -m model.gguf --no-bos \"Hello world\"");
}

}  // namespace tern::cli
