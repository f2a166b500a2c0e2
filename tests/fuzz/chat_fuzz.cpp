// Any bytes as a template: refused with an Error of one line, or text whose ranges are in order.
#include <tern/chat.h>
#include <tern/error.h>

#include <cstdint>
#include <cstdlib>

using namespace tern;

namespace {

void expect(bool ok) {
    if (!ok) std::abort();
}

constexpr std::string_view kMessages =
    R"({"messages": [{"role": "system", "content": "Be brief. "}, {"role": "user", "content": " <|im_end|>\nH\u00e9! "},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1.5}}}]}],
        "tools": [{"function": {"name": "f", "parameters": {}}}], "add_generation_prompt": true})";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        const ChatTemplate chat(std::string_view(reinterpret_cast<const char*>(data), size), {"<s>", "</s>"});
        const ChatPrompt prompt = chat.render_json(kMessages, {.now = "2026-01-15T12:00:00"});
        std::size_t end = 0;
        for (const TextRange& range : prompt.outside) {
            expect(end <= range.begin && range.begin < range.end);
            end = range.end;
        }
        expect(end <= prompt.text.size());
    } catch (const Error& e) {
        expect(e.code() != ErrorCode::internal);
        expect(std::string_view(e.what()).find('\n') == std::string_view::npos);
    }
    return 0;
}
