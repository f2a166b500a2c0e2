// The smallest program that links Tern: embed MODEL.gguf
#include <iostream>

#include <tern/tern.h>

int main(int argc, char** argv) try {
    if (argc != 2) {
        std::cerr << "usage: embed MODEL.gguf\n";
        return 2;
    }
    tern::Runtime runtime({.threads = 2});
    auto model = tern::Model::load(runtime, argv[1]);
    auto engine = tern::Engine(model, {.kv_memory = 256 * tern::MiB});
    auto reply = engine.submit({.prompt = "Once upon a time", .max_tokens = 64});
    for (const auto& piece : reply) std::cout << piece.text << std::flush;
    std::cout << "\n" << to_string(reply.finish_reason()) << "\n";
} catch (const tern::Error& error) {
    std::cerr << "embed: " << error.what() << "\n";
    return 1;
}
