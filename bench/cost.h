// What tokens cost a model at least: the bytes that must be read and the operations of the matrix products.
#pragma once

#include <tern/tern.h>

namespace tern::bench {

struct Cost {
    double bytes = 0;
    double operations = 0;  // a multiply-add counts 2; attention is not counted
    Cost& operator+=(const Cost& other) {
        bytes += other.bytes;
        operations += other.operations;
        return *this;
    }
};

// One step over `tokens` tokens. All share one reading of the weights; of experts, those that tokens with independent
// choices are expected to need. `outputs` of them get scores. `positions` are those of the KV cache that are read, of all
// sequences together.
Cost step_cost(const ModelInfo& model, double tokens, double outputs, double positions, KvType kv_type);

// A prompt of `tokens` tokens in each of `sequences` sequences, computed in steps of at most `batch` tokens. The cache is
// not counted: many tokens share one reading of it.
Cost prompt_cost(const ModelInfo& model, std::uint32_t tokens, std::uint32_t sequences, std::uint32_t batch, KvType kv_type);

}  // namespace tern::bench
