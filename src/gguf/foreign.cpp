// Recognising what is not GGUF, and tensor formats that Tern does not have, so that an error can say what to
// do.
#include <algorithm>
#include <array>

#include "gguf/cursor.h"
#include "gguf/file_impl.h"

namespace tern::gguf {
namespace {

struct Signature {
    std::string_view begin;
    std::string_view hint;
};

using namespace std::string_view_literals;

constexpr Signature kSignatures[] = {
    {"FUGG"sv, "it seems to be a byte-swapped GGUF file; get a little-endian one"},
    {"lmgg"sv, "it is a GGML file, which GGUF replaced; convert the original model to GGUF again"},
    {"fmgg"sv, "it is a GGMF file, which GGUF replaced; convert the original model to GGUF again"},
    {"tjgg"sv, "it is a GGJT file, which GGUF replaced; convert the original model to GGUF again"},
    {"algg"sv, "it is an old GGLA adapter, which GGUF replaced; convert the original adapter to GGUF again"},
    {"PK\x03\x04"sv, "it is a ZIP archive, perhaps a PyTorch checkpoint; convert it to GGUF or unpack it"},
    {"\x80\x02"sv, "it seems to be a PyTorch checkpoint; convert it to GGUF first"},
    {"\x1f\x8b"sv, "it is gzip-compressed; decompress it first"},
    {"\xfd"
     "7zXZ"sv,
     "it is xz-compressed; decompress it first"},
    {"\x28\xb5\x2f\xfd"sv, "it is zstd-compressed; decompress it first"},
    {"\x89HDF"sv, "it is an HDF5 file; convert it to GGUF first"},
    {"version https://git-lfs"sv, "it is a Git LFS pointer; fetch the file itself with 'git lfs pull'"},
    {"<!DOCTYPE"sv, "it is a web page; the download answered with a page instead of the file"},
    {"<!doctype"sv, "it is a web page; the download answered with a page instead of the file"},
    {"<html"sv, "it is a web page; the download answered with a page instead of the file"},
    {"\0\0\0\0\0\0\0\0"sv, "it begins with zeros, as an unfinished download does"},
};

struct Named {
    std::uint32_t id;
    const char* name;
    bool retired;  // removed from GGUF files
};

// Ids that formats.def leaves out. Source: the ggml type enumeration (ggml.h) and its history.
constexpr Named kOtherFormats[] = {
    {4, "Q4_2", true},        {5, "Q4_3", true},        {9, "Q8_1", false},     {24, "I8", false},
    {25, "I16", false},       {26, "I32", false},       {27, "I64", false},     {28, "F64", false},
    {31, "Q4_0_4_4", true},   {32, "Q4_0_4_8", true},   {33, "Q4_0_8_8", true}, {36, "IQ4_NL_4_4", true},
    {37, "IQ4_NL_4_8", true}, {38, "IQ4_NL_8_8", true}, {40, "NVFP4", false},   {41, "Q1_0", false},
    {42, "Q2_0", false},
};

}  // namespace

std::string describe_foreign(std::span<const std::byte> bytes) {
    if (bytes.empty()) return "the file is empty";
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    std::string magic;
    for (const std::byte b : bytes.first(std::min<std::size_t>(4, bytes.size())))
        magic += fmt::format("{}{:02x}", magic.empty() ? "" : " ", static_cast<unsigned>(b));
    std::string out = fmt::format("not a GGUF file: it begins with '{}' ({}) instead of 'GGUF'",
                                  escaped(text.substr(0, 4)), magic);
    for (const Signature& s : kSignatures)
        if (text.starts_with(s.begin)) return fmt::format("{}; {}", out, s.hint);
    // safetensors: a u64 header length, then a JSON object.
    if (bytes.size() >= 9 && text[8] == '{' && load<std::uint64_t>(bytes.data()) <= bytes.size() - 8)
        return out + "; it seems to be a safetensors file; convert it to GGUF first";
    return out;
}

std::string describe_unknown_format(std::uint32_t id) {
    for (const Named& f : kOtherFormats) {
        if (f.id != id) continue;
        if (f.retired)
            return fmt::format(
                "format {} (id {}), which was retired from GGUF; quantise the original model again", f.name,
                id);
        return fmt::format("format {} (id {}), which this version of Tern does not read", f.name, id);
    }
    return fmt::format("the unknown format id {}; a newer version of Tern may know it", id);
}

}  // namespace tern::gguf
