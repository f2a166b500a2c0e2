// tern verify: is a model file whole, and is it the same as another one?
#include <algorithm>

#include <fmt/format.h>

#include "common.h"

namespace tern::cli {
namespace {

struct VerifyArgs {
    std::string model;
    std::string pre;
    bool json = false;
    RuntimeArgs runtime;
};

nlohmann::ordered_json json_of(const std::vector<Finding>& findings) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Finding& f : findings) list.push_back({{"part", f.part}, {"problem", f.problem}});
    return list;
}

void print_table(const Verification& v) {
    const auto count = [&](std::string_view part) {
        return std::count_if(v.findings.begin(), v.findings.end(), [&](const Finding& f) { return f.part == part; });
    };
    const auto verdict = [&](std::string_view part) {
        return count(part) == 0 ? std::string("ok") : fmt::format("{} wrong", count(part));
    };
    std::string out;
    if (count("file") == 0)
        out += fmt::format("weights      {}: {} tensors, {}, {:.1f} GB/s\n", verdict("weights"), v.tensors,
                           human_bytes(v.bytes), v.seconds > 0 ? static_cast<double>(v.bytes) / v.seconds * 1e-9 : 0.0);
    out += fmt::format("shapes       {}\n", count("file") ? "not looked at" : verdict("shapes"));
    out += fmt::format("tokeniser    {}\n", count("tokenizer") ? verdict("tokenizer")
                                            : v.has_tokenizer  ? fmt::format("ok: {} texts there and back", v.texts)
                                                               : std::string("none"));
    out += fmt::format("template     {}\n", v.has_template ? verdict("template") : "none");
    out += fmt::format("fingerprint  {}\n", v.fingerprint.empty() ? "none" : v.fingerprint);
    for (const Finding& note : v.notes) out += fmt::format("note: {}: {}\n", note.part, printable(note.problem));
    for (const Finding& finding : v.findings)
        out += fmt::format("wrong: {}: {}\n", finding.part, printable(finding.problem));
    print_out(out);
}

int run(const VerifyArgs& options) {
    const Runtime runtime = make_runtime(options.runtime);
    const std::filesystem::path path = model_path(options.model);
    Verification v;
    {
        Progress bar("checking");
        v = verify(runtime, path, {.tokenizer = {.pre = options.pre}, .progress = [&bar](double fraction) {
                                       bar.update(fraction);
                                       return true;
                                   }});
    }
    if (options.json)
        print_json({{"file", path.string()},
                    {"ok", v.findings.empty()},
                    {"fingerprint", v.fingerprint},
                    {"findings", json_of(v.findings)},
                    {"notes", json_of(v.notes)},
                    {"tensors", v.tensors},
                    {"bytes", v.bytes},
                    {"seconds", v.seconds},
                    {"texts", v.texts},
                    {"has_tokenizer", v.has_tokenizer},
                    {"has_template", v.has_template}});
    else
        print_table(v);
    if (v.findings.empty()) return 0;
    print_error(fmt::format("{}: {} finding{}, the first: {}: {}", path.string(), v.findings.size(),
                            v.findings.size() == 1 ? "" : "s", v.findings.front().part, v.findings.front().problem));
    return kFailed;
}

}  // namespace

void add_verify(CLI::App& program, Action& action) {
    const auto o = std::make_shared<VerifyArgs>();
    CLI::App* command =
        add_command(program, action, "verify", "Checks all of a model file and prints its fingerprint.", o, run);
    add_model_option(command, o->model);
    add_pre_option(command, o->pre);
    command->add_flag("--json", o->json, "everything as one JSON document");
    add_runtime_options(command, o->runtime);
    command->footer(
        "Two people with the same fingerprint have a model that computes the same, on any CPU.\n"
        "Example:\n  tern verify -m model.gguf");
}

}  // namespace tern::cli
