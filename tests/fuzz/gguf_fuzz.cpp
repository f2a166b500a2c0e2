// Any bytes: refused with an Error, or a file whose every value and tensor can be used and written again.
#include <tern/gguf.h>

#include <cstdlib>

#include "../gguf/touch.h"

using namespace tern;

namespace {

// What Writer makes grows with the alignment, not with the input.
constexpr std::uint64_t kMaxPadding = 1 << 20;

void expect(bool ok) {
    if (!ok) std::abort();
}

void check(const gguf::File& file) {
    (void)test::touch(file);
    if (file.alignment() * (file.tensors().size() + 1) > kMaxPadding) return;
    const std::vector<std::byte> again = test::rewritten(file).to_bytes();
    const gguf::File second = gguf::File::parse(again, "again");
    expect(test::difference(file, second).empty());
    expect(test::rewritten(second).to_bytes() == again);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
    for (const bool need_data : {true, false}) {
        std::optional<gguf::File> file;
        try {
            file = gguf::File::parse(bytes, "fuzz", {.need_data = need_data});
        } catch (const Error& e) {
            expect(e.code() == ErrorCode::bad_file || e.code() == ErrorCode::unsupported);
            expect(std::string_view(e.what()).find('\n') == std::string_view::npos);
            continue;
        }
        if (need_data)
            check(*file);
        else
            (void)test::touch(*file);
    }
    return 0;
}
