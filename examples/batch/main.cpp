// Many prompts through one engine, each answer printed as it ends: batch MODEL.gguf < prompts.txt
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <tern/tern.h>

int main(int argc, char** argv) try {
    if (argc != 2) {
        std::cerr << "usage: batch MODEL.gguf < prompts.txt\n";
        return 2;
    }
    tern::Runtime runtime;
    auto model = tern::Model::load(runtime, argv[1]);
    auto engine = tern::Engine(model, {.kv_memory = 256 * tern::MiB});
    std::vector<tern::Reply> replies;
    for (std::string prompt; std::getline(std::cin, prompt);) {
        auto text = std::make_shared<std::string>(prompt);
        tern::Request request;
        request.prompt = prompt;
        request.max_tokens = 64;
        // Both are called on the engine's thread, one call at a time.
        request.on_piece = [text](const tern::Piece& piece) { *text += piece.text; };
        request.on_end = [text](const tern::End& end) {
            std::cout << *text << "\n[" << to_string(end.reason) << "]\n" << std::flush;
        };
        replies.push_back(engine.submit(std::move(request)));
    }
    for (auto& reply : replies) reply.wait();
} catch (const tern::Error& error) {
    std::cerr << "batch: " << error.what() << "\n";
    return 1;
}
