// Compiles the compute shaders of shaders/ to SPIR-V at build time and writes them as one C++ source.
//
//   shader_compiler SHADERS OUT.cpp OUT.d
//
// Every shaders/ops/NAME.comp becomes the shader NAME. One whose text has a line "// for each format" becomes
// a shader NAME/FORMAT for each shaders/formats/FORMAT.glsl, which it includes as "format.glsl". One with a
// line "// variants: A B" is compiled once for each word, as NAME/A with the macro VARIANT_A defined; those of a line
// "// variants of quantised formats: C" only with formats that do not define FLOATS.
// A shader that includes exact.glsl is compiled a second time, as NAME+doubles with the macro FMA_BY_DOUBLES
// defined.
#if __has_include(<glslang/SPIRV/GlslangToSpv.h>)  // Debian
#include <glslang/SPIRV/GlslangToSpv.h>
#else
#include <SPIRV/GlslangToSpv.h>
#endif
#include <glslang/Public/ResourceLimits.h>
#include <glslang/Public/ShaderLang.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace fs = std::filesystem;

namespace {

std::string read(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("cannot read " + path.string());
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

class Includer : public glslang::TShader::Includer {
public:
    // "format.glsl" is the format's file.
    Includer(fs::path root, fs::path format) : root_(std::move(root)), format_(std::move(format)) {}
    IncludeResult* includeSystem(const char*, const char*, size_t) override { return nullptr; }
    IncludeResult* includeLocal(const char* name, const char*, size_t) override {
        const fs::path path = std::string_view(name) == "format.glsl" ? format_ : root_ / name;
        if (!fs::is_regular_file(path)) return nullptr;
        files_.insert(path);
        texts_.push_back(read(path));
        results_.emplace_back(path.string(), texts_.back().data(), texts_.back().size(), nullptr);
        return &results_.back();
    }
    void releaseInclude(IncludeResult*) override {}
    const std::set<fs::path>& files() const { return files_; }

private:
    const fs::path root_, format_;
    std::list<std::string> texts_;
    std::list<IncludeResult> results_;
    std::set<fs::path> files_;
};

struct Job {
    std::string name;
    fs::path source, format;
    std::string preamble;
    std::vector<unsigned> code;
    std::vector<unsigned> by_doubles;  // the same with FMA_BY_DOUBLES, where exact.glsl is used; else empty
    std::set<fs::path> files;
    std::string error;
};

// What is used of SPIR-V's instructions: a word of length and number, then the operands.
namespace spirv {
constexpr std::size_t kHeader = 5;  // words before the first instruction
constexpr unsigned kTypeVoid = 19, kTypeFloat = 22, kTypeLast = 39, kConstantTrue = 41, kConstantLast = 52;
constexpr unsigned kFunction = 54, kDecorate = 71, kMatrixType = 4456, kSpecId = 1;
unsigned number(unsigned word) {
    return word & 0xffff;
}
unsigned words(unsigned word) {
    return word >> 16;
}
// Names, source and lines.
bool is_debug(unsigned op) {
    return (op >= 2 && op <= 8) || op == 317 || op == 330;
}
bool is_constant(unsigned op) {
    return op >= kConstantTrue && op <= kConstantLast;
}
bool is_type(unsigned op) {
    return (op >= kTypeVoid && op <= kTypeLast) || op == kMatrixType;
}
}  // namespace spirv

// glslang can do this with SPIRV-Tools, which refuses modules with an instruction newer than itself.
std::vector<unsigned> without_debug(const std::vector<unsigned>& code) {
    std::vector<unsigned> out(code.begin(), code.begin() + spirv::kHeader);
    for (std::size_t at = spirv::kHeader; at < code.size(); at += spirv::words(code[at]))
        if (!spirv::is_debug(spirv::number(code[at])))
            out.insert(out.end(), code.begin() + at, code.begin() + at + spirv::words(code[at]));
    return out;
}

// OpTypeCooperativeMatrixKHR names its component type, rows and columns by id. A spirv_type of glslang 12
// takes neither types nor specialisation constants, so shaders/cooperative_matrix.glsl writes literals: the
// bits of a float type, and constant_ids. Here they become the ids, and what they name is put before the
// type.
void name_matrix_types(std::vector<unsigned>& code) {
    std::map<unsigned, std::size_t> places;      // of types and constants, by id
    std::map<unsigned, unsigned> floats, specs;  // ids by bits, by constant_id
    std::vector<std::size_t> matrices;
    std::size_t begin = 0, end = spirv::kHeader;
    for (; end < code.size() && spirv::number(code[end]) != spirv::kFunction;
         end += spirv::words(code[end])) {
        const unsigned* word = &code[end];
        const unsigned op = spirv::number(*word);
        if (op == spirv::kDecorate && word[2] == spirv::kSpecId) specs[word[3]] = word[1];
        if (op == spirv::kTypeFloat) floats[word[2]] = word[1];
        if (op == spirv::kMatrixType) matrices.push_back(end);
        if (spirv::is_type(op)) places[word[1]] = end;
        if (spirv::is_constant(op)) places[word[2]] = end;
        if (begin == 0 && spirv::is_type(op)) begin = end;
    }
    if (matrices.empty()) return;
    const auto id = [](const std::map<unsigned, unsigned>& ids, unsigned literal, const char* what) {
        const auto found = ids.find(literal);
        if (found == ids.end())
            throw std::runtime_error("a cooperative matrix needs the " + std::string(what) + " " +
                                     std::to_string(literal) + ", which the shader does not use elsewhere");
        return found->second;
    };
    for (const std::size_t at : matrices) {
        code[at + 2] = id(floats, code[at + 2], "float type of bits");
        for (const std::size_t i : {at + 4, at + 5}) code[i] = id(specs, code[i], "constant_id");
    }
    std::vector<unsigned> ordered;
    std::set<std::size_t> done;
    const std::function<void(std::size_t)> put = [&](std::size_t at) {
        if (!done.insert(at).second) return;
        const unsigned op = spirv::number(code[at]), n = spirv::words(code[at]);
        if (op == spirv::kMatrixType)
            for (unsigned i = 2; i < n; ++i) put(places.at(code[at + i]));
        if (spirv::is_constant(op)) put(places.at(code[at + 1]));
        ordered.insert(ordered.end(), code.begin() + at, code.begin() + at + n);
    };
    for (std::size_t at = begin; at < end; at += spirv::words(code[at])) put(at);
    std::copy(ordered.begin(), ordered.end(), code.begin() + begin);
}

// Each sum and product is rounded by itself, as docs/numerics.md defines them: NoContraction for all of them, what
// -ffp-contract=off is to C++. (SPIR-V: words of an instruction are its length << 16 | opcode, then its operands.)
void forbid_contraction(std::vector<unsigned>& code) {
    constexpr unsigned kDecorate = 71, kNoContraction = 42;
    const std::set<unsigned> arithmetic = {127, 129, 131, 133, 136, 142, 148};  // FNegate FAdd FSub FMul FDiv, ×scalar, Dot
    std::vector<unsigned> decorations;
    std::size_t first = 0;
    for (std::size_t i = 5; i < code.size(); i += code[i] >> 16) {
        const unsigned opcode = code[i] & 0xffffu;
        if (opcode == kDecorate && first == 0) first = i;
        if (arithmetic.contains(opcode)) decorations.insert(decorations.end(), {3u << 16 | kDecorate, code[i + 2], kNoContraction});
    }
    code.insert(code.begin() + static_cast<std::ptrdiff_t>(first), decorations.begin(), decorations.end());
}

void compile(Job& job, const fs::path& root, const std::string& preamble, std::vector<unsigned>& code) {
    const std::string text = read(job.source);
    const std::string path = job.source.string();
    const char* strings[] = {text.c_str()};
    const int lengths[] = {static_cast<int>(text.size())};
    const char* names[] = {path.c_str()};
    glslang::TShader shader(EShLangCompute);
    shader.setStringsWithLengthsAndNames(strings, lengths, names, 1);
    shader.setPreamble(preamble.c_str());
    shader.setEnvInput(glslang::EShSourceGlsl, EShLangCompute, glslang::EShClientVulkan, 120);
    shader.setEnvClient(glslang::EShClientVulkan, glslang::EShTargetVulkan_1_2);
    shader.setEnvTarget(glslang::EShTargetSpv, glslang::EShTargetSpv_1_5);
    Includer includer(root, job.format);
    const auto messages = static_cast<EShMessages>(EShMsgSpvRules | EShMsgVulkanRules);
    const bool parsed = shader.parse(GetDefaultResources(), 450, false, messages, includer);
    job.files = includer.files();
    job.files.insert(job.source);
    glslang::TProgram program;
    program.addShader(&shader);
    if (!parsed || !program.link(messages)) {
        job.error = job.name + ":\n" + shader.getInfoLog() + program.getInfoLog();
        return;
    }
    glslang::SpvOptions options;
    glslang::GlslangToSpv(*program.getIntermediate(EShLangCompute), code, &options);
    code = without_debug(code);
    try {
        name_matrix_types(code);
    } catch (const std::exception& e) {
        job.error = job.name + ": " + e.what();
        return;
    }
    forbid_contraction(code);
}

void compile(Job& job, const fs::path& root) {
    compile(job, root, job.preamble, job.code);
    if (job.error.empty() && job.files.contains(root / "exact.glsl"))
        compile(job, root, job.preamble + "#define FMA_BY_DOUBLES\n", job.by_doubles);
}

std::vector<fs::path> files_in(const fs::path& folder, const char* extension) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder))
        if (entry.path().extension() == extension) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
}

std::string upper(std::string text) {
    for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return text;
}

// The words of the line that follow `mark`, joined.
std::string words_after(const std::string& text, const std::string& mark, const std::string& join) {
    const std::size_t at = text.find(mark);
    if (at == text.npos) return {};
    std::istringstream words(text.substr(at + mark.size(), text.find('\n', at) - at - mark.size()));
    std::string all;
    for (std::string word; words >> word;) all += (all.empty() ? "" : join) + word;
    return all;
}

std::vector<std::string> variants_of(const std::string& text, const std::string& mark) {
    std::istringstream words(words_after(text, mark, " "));
    return {std::istream_iterator<std::string>(words), {}};
}

int run(const fs::path& root, const fs::path& out, const fs::path& depfile) {
    std::vector<Job> jobs;
    for (const fs::path& source : files_in(root / "ops", ".comp")) {
        const std::string text = read(source), stem = source.stem().string();
        std::vector<std::string> variants = variants_of(text, "// variants: ");
        const std::vector<std::string> quantised = variants_of(text, "// variants of quantised formats: ");
        variants.insert(variants.end(), quantised.begin(), quantised.end());
        if (variants.empty()) variants.emplace_back();
        for (const std::string& variant : variants) {
            const std::string name = variant.empty() ? stem : stem + "/" + variant;
            std::string preamble = "#extension GL_GOOGLE_include_directive : require\n";
            if (!variant.empty()) preamble += "#define VARIANT_" + variant + "\n";
            if (text.find("// for each format") == text.npos) {
                jobs.push_back({name, source, {}, preamble, {}, {}, {}, {}});
                continue;
            }
            const bool no_floats = std::find(quantised.begin(), quantised.end(), variant) != quantised.end();
            for (const fs::path& format : files_in(root / "formats", ".glsl")) {
                if (no_floats && read(format).find("#define FLOATS") != std::string::npos) continue;
                jobs.push_back(
                    {name + "/" + upper(format.stem().string()), source, format, preamble, {}, {}, {}, {}});
            }
        }
    }
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
        for (std::size_t i; (i = next++) < jobs.size();) compile(jobs[i], root);
    };
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i)
        threads.emplace_back(work);
    threads.clear();
    std::set<fs::path> files;
    bool failed = false;
    for (const Job& job : jobs) {
        files.insert(job.files.begin(), job.files.end());
        if (!job.error.empty()) {
            std::cerr << job.error << "\n";
            failed = true;
        }
    }
    if (failed) return 1;
    std::ofstream o(out);
    o << "// Made by cmake/shader_compiler.cpp from shaders/.\n#include \"backend/vulkan/shaders.h\"\n\n"
         "namespace tern::backend::vulkan {\nnamespace {\n";
    const auto write = [&](const std::string& name, const std::vector<unsigned>& code) {
        o << "constexpr std::uint32_t " << name << "[] = {";
        char word[16];
        for (std::size_t w = 0; w < code.size(); ++w) {
            std::snprintf(word, sizeof word, "%s0x%x", w == 0 ? "" : ",", code[w]);
            o << word << (w % 32 == 31 ? "\n" : "");
        }
        o << "};\n";
    };
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        write("k" + std::to_string(i), jobs[i].code);
        if (!jobs[i].by_doubles.empty()) write("kDoubles" + std::to_string(i), jobs[i].by_doubles);
    }
    o << "constexpr Shader kShaders[] = {\n";
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        o << "    {\"" << jobs[i].name << "\", k" << i << "},\n";
        if (!jobs[i].by_doubles.empty())
            o << "    {\"" << jobs[i].name << "+doubles\", kDoubles" << i << "},\n";
    }
    o << "};\n";
    std::string rows;
    for (const fs::path& format : files_in(root / "formats", ".glsl")) {
        const std::string name = upper(format.stem().string()),
                          parts = words_after(read(format), "// parts: ", ", ");
        if (parts.empty()) {
            std::cerr << format.string() << ": no line '// parts: BYTES …'\n";
            return 1;
        }
        files.insert(format);
        o << "constexpr std::uint32_t kParts" << name << "[] = {" << parts << "};\n";
        rows += "    {\"" + name + "\", kParts" + name + "},\n";
    }
    o << "constexpr FormatParts kFormatParts[] = {\n"
      << rows
      << "};\n}  // namespace\n\nstd::span<const FormatParts> all_format_parts() noexcept { return "
         "kFormatParts; }\n"
         "std::span<const Shader> all_shaders() noexcept { return kShaders; }\n\n"
         "}  // namespace tern::backend::vulkan\n";
    std::ofstream d(depfile);
    d << out.string() << ":";
    for (const fs::path& file : files) d << " " << file.string();
    d << "\n";
    return o.flush() && d.flush() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::cerr << "usage: shader_compiler SHADERS OUT.cpp OUT.d\n";
        return 2;
    }
    glslang::InitializeProcess();
    int result = 1;
    try {
        result = run(argv[1], argv[2], argv[3]);
    } catch (const std::exception& e) {
        std::cerr << "shader_compiler: " << e.what() << "\n";
    }
    glslang::FinalizeProcess();
    return result;
}
