// tern inspect: what a GGUF file holds, or what is wrong with it. Reads the directory only, never the weights.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "common.h"

namespace tern::cli {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
    std::string file;
    bool json = false;
    bool full = false;
};

constexpr std::uint64_t kArrayPreview = 8;

struct FormatShare {
    std::size_t tensors = 0;
    std::uint64_t bytes = 0;
};

struct Totals {
    std::uint64_t parameters = 0;
    std::uint64_t bytes = 0;
    std::map<DType, FormatShare> formats;
};

Totals totals_of(const gguf::File& file) {
    Totals t;
    for (const gguf::Tensor& tensor : file.tensors()) {
        t.parameters += tensor.elements();
        t.bytes += tensor.bytes;
        FormatShare& share = t.formats[tensor.dtype];
        ++share.tensors;
        share.bytes += tensor.bytes;
    }
    return t;
}

// The formats by bytes, greatest first.
std::vector<std::pair<DType, FormatShare>> by_bytes(const Totals& totals) {
    std::vector<std::pair<DType, FormatShare>> out(totals.formats.begin(), totals.formats.end());
    std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
    return out;
}

// Well-formed, but unlikely to be what somebody wanted.
std::vector<std::string> warnings_of(const gguf::File& file) {
    std::vector<std::string> out;
    const auto text_of = [&](const char* key) -> std::optional<std::string> {
        const gguf::Value* value = file.find(key);
        if (!value) return std::nullopt;
        if (value->type() != gguf::ValueType::string) {
            out.push_back(fmt::format("{} is of type {}, not string", key, to_string(value->type())));
            return std::nullopt;
        }
        return std::string(value->as_string());
    };

    const std::optional<std::string> architecture = text_of("general.architecture");
    if (!file.find("general.architecture"))
        out.push_back("general.architecture is missing: no program can know how to run this file");
    if (file.tensors().empty()) out.push_back("there are no tensors: a vocabulary or metadata only");

    const std::optional<std::string> tokenizer = text_of("tokenizer.ggml.model");
    if (!file.find("tokenizer.ggml.model"))
        out.push_back("tokenizer.ggml.model is missing: token ids work, text does not");
    const gguf::Value* tokens = file.find("tokenizer.ggml.tokens");
    const gguf::Tensor* embedding = file.find_tensor("token_embd.weight");
    if (tokens && tokens->type() == gguf::ValueType::array && embedding && embedding->shape[1] != tokens->size())
        out.push_back(fmt::format("the vocabulary has {} tokens and token_embd.weight {} rows", tokens->size(),
                                  embedding->shape[1]));
    if (tokenizer == "gpt2") {
        const std::optional<std::string> pre = text_of("tokenizer.ggml.pre");
        const std::vector<std::string> known = Tokenizer::pre_tokenizers();
        if (!file.find("tokenizer.ggml.pre"))
            out.push_back("tokenizer.ggml.pre is missing: how text is split is a guess; convert the model again");
        else if (pre && std::find(known.begin(), known.end(), *pre) == known.end())
            out.push_back(fmt::format("tokenizer.ggml.pre is '{}', which this version does not know: text does not work", *pre));
    }

    if (const std::optional<std::string> source = text_of("tokenizer.chat_template")) {
        try {
            const ChatTemplate parsed(*source);
            // What it makes of a conversation needs the vocabulary, whose own faults are told elsewhere.
            std::optional<Tokenizer> vocabulary;
            try {
                if (tokens) vocabulary = Tokenizer::from_gguf(file);
            } catch (const Error&) {
            }
            if (vocabulary && vocabulary->kind() != TokenizerKind::none) {
                const TemplateCheck check = check_template(*source, *vocabulary);
                for (const auto* list : {&check.faults, &check.warnings})
                    for (const std::string& problem : *list) out.push_back("tokenizer.chat_template: " + problem);
            }
        } catch (const Error& e) {
            out.push_back(fmt::format("tokenizer.chat_template cannot be used: {}", e.what()));
        }
    }

    if (architecture) {
        const gguf::Value* count = file.find(*architecture + ".block_count");
        std::set<std::string_view> blocks;
        for (const gguf::Tensor& tensor : file.tensors())
            if (tensor.name.starts_with("blk."))
                blocks.insert(tensor.name.substr(0, tensor.name.find('.', 4)));
        if (!count && !blocks.empty())
            out.push_back(fmt::format("{}.block_count is missing", *architecture));
        else if (count && count->type() != gguf::ValueType::array && count->type() != gguf::ValueType::string &&
                 !file.tensors().empty() && count->as_float() != static_cast<double>(blocks.size()))
            out.push_back(fmt::format("{}.block_count is {}, but there are tensors of {} blocks", *architecture,
                                      count->to_text(), blocks.size()));
    }
    if (file.splits() == 1 && !file.tensors().empty()) {
        std::uint64_t end = 0;
        for (const gguf::Tensor& tensor : file.tensors()) end = std::max(end, tensor.file_offset + tensor.bytes);
        if (file.total_bytes() > end + file.alignment())
            out.push_back(fmt::format("{} bytes follow the last tensor", with_commas(file.total_bytes() - end)));
    }
    return out;
}

std::string shape_text(const gguf::Tensor& tensor) {
    std::string out;
    for (std::uint32_t i = 0; i < tensor.rank; ++i) out += fmt::format("{}{}", i ? " × " : "", tensor.shape[i]);
    return out;
}

// Pads to a width in characters; "×" is two bytes.
std::string pad(const std::string& text, std::size_t width) {
    const auto length = static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
    return text + std::string(width > length ? width - length : 0, ' ');
}

std::string type_text(const gguf::Value& value) {
    if (value.type() != gguf::ValueType::array) return to_string(value.type());
    return fmt::format("{}[{}]", to_string(value.element_type()), value.size());
}

// At most `width` bytes, cut between code points.
std::string shorten(std::string text, std::size_t width) {
    if (text.size() <= width) return text;
    while (width > 0 && (static_cast<unsigned char>(text[width]) & 0xc0) == 0x80) --width;
    return text.substr(0, width) + fmt::format("… ({} bytes)", text.size());
}

std::string table(const gguf::File& file, const Totals& totals, const std::vector<std::string>& warnings, bool full) {
    std::string out = fmt::format("{}\nGGUF version {}, {}{}, alignment {}\n", printable(file.name()), file.version(),
                                  human_bytes(file.total_bytes()),
                                  file.splits() > 1 ? fmt::format(" in {} files", file.splits()) : "", file.alignment());
    const gguf::Value* architecture = file.find("general.architecture");
    out += fmt::format("{}, {} parameters in {} tensors, {}\n",
                       architecture ? architecture->to_text() : "no architecture", human_count(totals.parameters),
                       file.tensors().size(), human_bytes(totals.bytes));
    for (const std::string& warning : warnings) out += fmt::format("warning: {}\n", printable(warning));

    std::size_t key_width = 0, type_width = 0;
    for (const gguf::Value& value : file.metadata()) {
        key_width = std::clamp(value.key().size(), key_width, std::size_t{44});
        type_width = std::clamp(type_text(value).size(), type_width, std::size_t{16});
    }
    out += fmt::format("\nMetadata ({})\n", file.metadata().size());
    for (const gguf::Value& value : file.metadata()) {
        const std::string text = full ? value.to_text(value.size()) : shorten(value.to_text(kArrayPreview), 120);
        out += fmt::format("  {:<{}}  {:<{}}  {}\n", printable(value.key()), key_width, type_text(value), type_width, text);
    }

    std::size_t name_width = 0, shape_width = 0;
    for (const gguf::Tensor& tensor : file.tensors()) {
        name_width = std::max(name_width, tensor.name.size());
        shape_width = std::max(shape_width, shape_text(tensor).size());
    }
    if (!file.tensors().empty()) out += fmt::format("\nTensors ({})\n", file.tensors().size());
    for (const gguf::Tensor& tensor : file.tensors())
        out += fmt::format("  {:<{}}  {:<7}  {}  {:>10}\n", printable(tensor.name), name_width, to_string(tensor.dtype),
                           pad(shape_text(tensor), shape_width), human_bytes(tensor.bytes));

    if (!totals.formats.empty()) out += "\nFormats\n";
    for (const auto& [dtype, share] : by_bytes(totals))
        out += fmt::format("  {:<7}  {:>5} tensors  {:>10}  {:5.1f} %\n", to_string(dtype), share.tensors,
                           human_bytes(share.bytes),
                           100 * static_cast<double>(share.bytes) / static_cast<double>(std::max<std::uint64_t>(totals.bytes, 1)));
    return out;
}

// The shortest decimal that names the same f32, as a double: 1e-05 instead of 9.999999747378752e-06.
double widen(double value, gguf::ValueType type) {
    if (type != gguf::ValueType::f32 || !std::isfinite(value)) return value;
    return std::stod(fmt::format("{}", static_cast<float>(value)));
}

Json json_of(const gguf::Value& value, bool full) {
    using gguf::ValueType;
    const auto array = [&](const auto& elements, auto convert) {
        const std::size_t shown = full ? elements.size() : std::min<std::size_t>(elements.size(), kArrayPreview);
        Json list = Json::array();
        for (std::size_t i = 0; i < shown; ++i) list.push_back(convert(elements[i]));
        if (shown == elements.size()) return list;
        return Json{{"type", to_string(value.element_type())}, {"count", elements.size()}, {"first", list}};
    };
    const auto same = [](auto x) { return x; };
    const bool is_array = value.type() == ValueType::array;
    switch (value.element_type()) {
        case ValueType::string:
            if (is_array) return array(value.as_strings(), [](std::string_view s) { return std::string(s); });
            return std::string(value.as_string());
        case ValueType::boolean:
            if (is_array) return array(value.as_bools(), [](bool b) { return b; });
            return value.as_bool();
        case ValueType::f32:
        case ValueType::f64:
            if (is_array)
                return array(value.as_floats(), [](float f) { return widen(static_cast<double>(f), ValueType::f32); });
            return widen(value.as_float(), value.type());
        case ValueType::u64:
            if (!is_array) return value.as_u64();
            [[fallthrough]];
        default: return is_array ? array(value.as_integers(), same) : Json(value.as_i64());
    }
}

Json document(const gguf::File& file, const Totals& totals, const std::vector<std::string>& warnings, bool full) {
    Json out;
    out["file"] = file.name();
    out["version"] = file.version();
    out["alignment"] = file.alignment();
    out["bytes"] = file.total_bytes();
    out["splits"] = file.splits();
    out["parameters"] = totals.parameters;
    out["tensor_bytes"] = totals.bytes;
    out["warnings"] = warnings;
    out["metadata"] = Json::object();
    for (const gguf::Value& value : file.metadata()) out["metadata"][std::string(value.key())] = json_of(value, full);
    out["tensors"] = Json::array();
    for (const gguf::Tensor& tensor : file.tensors())
        out["tensors"].push_back({{"name", tensor.name},
                                  {"format", to_string(tensor.dtype)},
                                  {"shape", std::vector<std::uint64_t>(tensor.shape, tensor.shape + tensor.rank)},
                                  {"bytes", tensor.bytes},
                                  {"offset", tensor.file_offset},
                                  {"split", tensor.split}});
    out["formats"] = Json::array();
    for (const auto& [dtype, share] : by_bytes(totals))
        out["formats"].push_back({{"format", to_string(dtype)}, {"tensors", share.tensors}, {"bytes", share.bytes}});
    return out;
}

void report(const gguf::File& file, const InspectOptions& options) {
    const Totals totals = totals_of(file);
    const std::vector<std::string> warnings = warnings_of(file);
    if (options.json)
        print_json(document(file, totals, warnings, options.full));
    else
        print_out(table(file, totals, warnings, options.full));
}

int run(const InspectOptions& options) {
    std::optional<Error> problem;
    try {
        report(gguf::File::open(options.file), options);
        return 0;
    } catch (const Error& e) {
        if (e.code() != ErrorCode::bad_file) throw;
        problem = e;
    }
    // A file that is merely cut off still has a directory to show.
    std::optional<gguf::File> directory;
    try {
        directory = gguf::File::open(options.file, {.need_data = false});
    } catch (const Error&) {
        throw *problem;
    }
    report(*directory, options);
    throw *problem;
}

}  // namespace

void add_inspect(CLI::App& program, Action& action) {
    const auto o = std::make_shared<InspectOptions>();
    CLI::App* command =
        add_command(program, action, "inspect", "Shows what a GGUF file holds, or what is wrong with it.", o, run);
    command->add_option("FILE", o->file, "GGUF file, or any file of a split set")->required();
    command->add_flag("--json", o->json, "everything as one JSON document");
    command->add_flag("--full", o->full, "arrays and texts uncut");
    command->footer("Example:\n  tern inspect model.gguf");
}

}  // namespace tern::cli
