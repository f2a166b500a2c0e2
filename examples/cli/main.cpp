// The `tern` command: one file per command, main chooses.
#include <exception>
#include <new>

#include <fmt/format.h>

#include "common.h"

namespace {

// Compact, so that every help fits a screen: usage, options, example.
class HelpFormatter : public CLI::Formatter {
public:
    HelpFormatter() { column_width(28); }

    std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode) const override {
        std::string out = fmt::format("Usage: {}", name.empty() ? app->get_name() : name);
        const bool program = !app->get_subcommands(nullptr).empty();
        for (const CLI::Option* option : app->get_options())
            if (!option->nonpositional())
                out += option->get_required() ? " " + option->get_name(true) : " [" + option->get_name(true) + "]";
        out += program ? " COMMAND [options]\n" : " [options]\n";
        out += app->get_description() + "\n\n";
        for (const CLI::App* command : app->get_subcommands(nullptr))
            out += fmt::format("  {:<26}{}\n", command->get_name(), command->get_description());
        if (program) out += "\n";
        for (const CLI::Option* option : app->get_options()) {
            // Who reads a command's help has found the option for it; the program's says so.
            if (!option->nonpositional() || (!program && option == app->get_help_ptr())) continue;
            std::string names;
            for (const std::string& s : option->get_snames()) names += "-" + s + ",";
            for (const std::string& l : option->get_lnames()) names += "--" + l + ",";
            names.pop_back();
            const std::string value = option->get_option_text();
            if (!value.empty()) names += " " + value;
            out += fmt::format("  {:<26}{}\n", names, option->get_description());
        }
        return out + "\n" + app->get_footer() + "\n";
    }
};

int usage_error(const CLI::App& program, const std::string& message) {
    std::string command = "tern";
    for (const CLI::App* chosen : program.get_subcommands()) command += " " + chosen->get_name();
    tern::cli::print_error(fmt::format("{} (see {} --help)", message, command));
    return tern::cli::kUsage;
}

int run(int argc, char** argv) {
    using namespace tern::cli;
    CLI::App program("Runs language models from GGUF files.", "tern");
    program.formatter(std::make_shared<HelpFormatter>());
    program.set_help_flag("-h,--help", "this help; tern COMMAND --help for a command's");
    program.set_version_flag("--version", "tern " TERN_VERSION, "the version");
    program.require_subcommand(1);
    program.footer("Example:\n  tern run \"Once upon a time\"");
    Action action;
    add_run(program, action);
    add_chat(program, action);
    add_plan(program, action);
    add_tokenize(program, action);
    add_logits(program, action);
    add_inspect(program, action);
    add_render(program, action);
    add_bench(program, action);
    add_devices(program, action);
    add_embed(program, action);
    add_verify(program, action);
    for (CLI::App* command : program.get_subcommands(nullptr)) command->set_help_flag("-h,--help", "this help");

    try {
        program.parse(argc, argv);
        return action();
    } catch (const CLI::CallForHelp&) {
        print_out(program.help());
        return 0;
    } catch (const CLI::CallForVersion& e) {
        print_out(std::string(e.what()) + "\n");
        return 0;
    } catch (const CLI::ParseError& e) {
        return usage_error(program, e.what());
    } catch (const UsageError& e) {
        return usage_error(program, e.what());
    }
}

}  // namespace

int main(int argc, char** argv) {
    tern::cli::open_standard_files();
    try {
        return run(argc, argv);
    } catch (const std::bad_alloc&) {
        tern::cli::print_error("out of memory; a smaller model or context would need less");
    } catch (const std::exception& e) {
        tern::cli::print_error(e.what());
    }
    return tern::cli::kFailed;
}
