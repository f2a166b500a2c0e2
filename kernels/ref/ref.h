// The reference's entries of the kernel table; kernel.h says what each does.
#pragma once

#include "kernels/kernel.h"

namespace tern::kernels::ref {

void fill_matmul(KernelTable& table);

void quantize_q8_256(const float* x, std::size_t k, ActBlock* out, std::size_t stride);
void quantize_q8_32(const float* x, std::size_t k, ActBlock* out, std::size_t stride);

void rms_norm(const float* x, const float* w, float* y, std::size_t n, float eps);
void layer_norm(const float* x, const float* w, const float* b, float* y, std::size_t n, float eps);
void add(const float* a, const float* b, float* out, std::size_t n);
void mul(const float* a, const float* b, float* out, std::size_t n);
void scale(const float* a, float s, float* out, std::size_t n);
void add_scaled(const float* a, float s, float* out, std::size_t n);
void softcap(const float* a, float cap, float* out, std::size_t n);
void activate(Activation kind, const float* x, float* out, std::size_t n);
void gated(Activation kind, const float* gate, const float* up, float* out, std::size_t n);
void softmax(const float* x, float* p, std::size_t n);
void rope(float* x, std::size_t heads, std::size_t head_dim, std::size_t n_rot, const float* cos, const float* sin,
          RopeMode mode);

void kv_store(void* page, KvType type, std::size_t k_dim, std::size_t v_dim, std::size_t position, const float* k,
              const float* v);
void attention(const AttentionArgs& args);
void attention_merge(float* ma, float* la, float* oa, float mb, float lb, const float* ob, std::size_t v_dim);
void attention_finish(float m, float l, const float* o, const float* sink, float* out, std::size_t v_dim);

}  // namespace tern::kernels::ref
