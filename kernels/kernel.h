// The kernels' signatures and their contract. docs/numerics.md defines every operation; kernels/ref is that text in
// code; every other implementation gives the same bits.
//
// Common rules: no allocation, threads, I/O, exceptions. Pointers do not alias unless said so. Sizes are in elements
// unless said so. No alignment is assumed beyond the element type's, except for ActBlock and scratch (64 bytes).
// Kernels read only the bytes that the arguments describe, and write only outputs and scratch.
#pragma once

#include <cstddef>
#include <cstdint>

#include <tern/dtype.h>

namespace tern::kernels {

// ---- activations ------------------------------------------------------------------------------------------------
// What a matrix product with weights of a format multiplies with.
enum class ActKind : std::uint8_t {
    f32,     // float formats: rows of f32
    q8_256,  // formats of 256 elements: int8 with one scale per 256
    q8_32,   // formats of 32 elements: int8 with one scale per 32
};

// What follows the 256 int8 of a block.
struct ActTail256 {
    float d;                 // scale
    std::int16_t sum32[8];   // sums of q over 32
    std::int16_t sum16[16];  // sums of q over 16
};
struct ActTail32 {
    float d[8];           // scale per 32
    std::int16_t sum[8];  // sums of q over 32
};

// 256 quantised activations. For q8_32 the last block of a row may be partial: the rest is zero.
struct alignas(64) ActBlock {
    std::int8_t q[256];
    union {
        ActTail256 k;  // q8_256
        ActTail32 b;   // q8_32
    };
};
static_assert(sizeof(ActBlock) == 320);

// ---- matrix product -----------------------------------------------------------------------------------------------
// out[t * out_stride + r] = sum over k of w[r][k] * x[t][k], for `rows` rows and `tokens` tokens, in the exact
// arithmetic of docs/numerics.md. Any rows >= 1, tokens >= 1, k a multiple of the format's block.
struct MatmulArgs {
    const void* w;             // first row, in the format's blocks, as in the file
    std::size_t w_row_bytes;   // from one row to the next
    std::size_t rows;
    std::size_t k;
    const void* act;           // f32: float [token][k], act_stride floats apart;
                               // else: ActBlock [k/256 rounded up][token], block s of token t at s * act_stride + t
    std::size_t act_stride;
    std::size_t tokens;
    float* out;
    std::size_t out_stride;
    void* scratch;             // 64-byte aligned, scratch_bytes(k, tokens) bytes, exclusive to the call
};
struct MatmulKernel {
    void (*run)(const MatmulArgs&) = nullptr;
    std::size_t (*scratch_bytes)(std::size_t k, std::size_t tokens) = nullptr;
    std::size_t row_tile = 1;  // a call is fastest when rows is a multiple of it
};

// ---- attention ------------------------------------------------------------------------------------------------
inline constexpr std::size_t kPageTokens = 64;      // positions of a KV page; part of the numbers' definition
inline constexpr std::size_t kChunkTokens = 1024;   // positions of an attention chunk; likewise
enum class KvType : std::uint8_t { f32, f16, q8_0, q4_0 };
inline constexpr std::size_t kKvBlock = 32;  // q8_0, q4_0: consecutive dimensions of a position that share a scale

// One head's page: K dimension-major, [k_dim][kPageTokens], then V position-major, [kPageTokens][v_dim]. For q8_0 both
// are int8, and the f16 scales of each follow it: [blocks of k_dim][kPageTokens], [kPageTokens][blocks of v_dim]. q4_0
// has the same scales, and two elements in a byte, always of one position, so that threads may store neighbours at the
// same time: of K the dimensions 2j and 2j + 1, [ceil(k_dim / 2)][kPageTokens]; of V those j and j + 16 of a block,
// 16 bytes for a whole block and min(n, 16) for a last one of n dimensions. The first is in the low half; a half that
// has no dimension is 0. Every part is a multiple of 64 bytes. The offsets are in bytes from the page, where K lies.
struct KvLayout {
    std::size_t k_scales, v, v_scales, bytes;
    std::size_t v_row;  // bytes of one position of V, without its scales
};
// Always inline: an object for a wide instruction set must not be the one that provides the body for all.
[[gnu::always_inline]] static inline constexpr KvLayout kv_layout(KvType type, std::size_t k_dim, std::size_t v_dim) {
    const bool halves = type == KvType::q4_0;
    const std::size_t element = type == KvType::f32 ? 4 : type == KvType::f16 ? 2 : 1;
    const std::size_t scale = halves || type == KvType::q8_0 ? kPageTokens * sizeof(std::uint16_t) : 0;
    const std::size_t k_scales = kPageTokens * (halves ? (k_dim + 1) / 2 : k_dim * element);
    const std::size_t rest = v_dim % kKvBlock;
    const std::size_t v_halves = (v_dim - rest) / 2 + (rest < kKvBlock / 2 ? rest : kKvBlock / 2);
    const std::size_t v_row = halves ? v_halves : v_dim * element;
    const std::size_t v = k_scales + (k_dim + kKvBlock - 1) / kKvBlock * scale;
    const std::size_t v_scales = v + kPageTokens * v_row;
    return {k_scales, v, v_scales, v_scales + (v_dim + kKvBlock - 1) / kKvBlock * scale, v_row};
}

// One chunk of one KV head: online softmax over the pages of positions [chunk_begin, chunk_end) for `rows` query rows
// (all query heads of the group and several tokens), each of which sees positions [lo[r], hi[r]).
struct AttentionArgs {
    const void* const* pages;  // page i holds positions [i*64, i*64+64) of the sequence, for this layer and KV head
    KvType type;
    std::size_t k_dim, v_dim;
    std::size_t chunk_begin, chunk_end;  // chunk_begin is a multiple of kChunkTokens
    const float* q;                      // rows of k_dim, q_stride apart, already multiplied by the score scale
    std::size_t q_stride;
    std::size_t rows;
    const std::uint32_t* lo;
    const std::uint32_t* hi;
    float softcap;  // 0: none; otherwise score = softcap * tanh(score / softcap)
    // ALiBi (arXiv:2108.12409), null: none. Then score = fma(-slopes[r], |float(i) - float(positions[r])|, score) for the
    // position i, after the softcap.
    const float* slopes;
    const std::uint32_t* positions;  // of the query rows; looked at only with slopes
    // Results per row: running maximum, sum of exponentials, unnormalised output (v_dim, o_stride apart).
    // A row that sees nothing of the chunk gets m = -infinity, l = 0, o = 0.
    float* m;
    float* l;
    float* o;
    std::size_t o_stride;
    void* scratch;  // 64-byte aligned, attention_scratch_bytes bytes
};
// One page of K and V as f32 and a tile of scores.
inline constexpr std::size_t attention_scratch_bytes(std::size_t k_dim, std::size_t v_dim) {
    return ((k_dim + v_dim + 32) * kPageTokens) * sizeof(float);
}

// ---- the table of an instruction set -------------------------------------------------------------------------------
enum class RopeMode : std::uint8_t {
    adjacent,  // pairs (0,1), (2,3) …   GGUF "norm"
    halves,    // pairs (0,n/2), (1,n/2+1) …   GGUF "neox"
};

// What an activation makes of x; docs/numerics.md, "Activations".
enum class Activation : std::uint8_t {
    silu,          // x * sigmoid(x)
    gelu,          // x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)), which is GELU with tanh
    gelu_erf,      // x / 2 * (1 + erf(x / sqrt(2)))
    relu_squared,  // max(x, 0)^2
    sigmoid,
    clamped_silu,  // gated only: g * sigmoid(1.702 g) * (u + 1), g at most 7 and u within -7 and 7 (gpt-oss)
};

inline constexpr std::size_t kFormatSlots = 64;  // indexed by GGUF type id

// Function pointers; null where the instruction set has no own version. n is a length in elements.
struct KernelTable {
    const char* name = "";
    MatmulKernel matmul[kFormatSlots];

    // x (k floats) to ceil(k/256) blocks, `stride` blocks apart. k % 32 == 0 for q8_32, k % 256 == 0 for q8_256.
    void (*quantize_q8_256)(const float* x, std::size_t k, ActBlock* out, std::size_t stride) = nullptr;
    void (*quantize_q8_32)(const float* x, std::size_t k, ActBlock* out, std::size_t stride) = nullptr;

    // y = x / rms(x) * w; w may be null (all ones). x == y allowed.
    void (*rms_norm)(const float* x, const float* w, float* y, std::size_t n, float eps) = nullptr;
    // y = (x - mean) / sqrt(variance + eps) * w + b; w and b may be null. x == y allowed.
    void (*layer_norm)(const float* x, const float* w, const float* b, float* y, std::size_t n, float eps) = nullptr;
    // Elementwise; out may equal an input.
    void (*add)(const float* a, const float* b, float* out, std::size_t n) = nullptr;
    void (*mul)(const float* a, const float* b, float* out, std::size_t n) = nullptr;
    void (*scale)(const float* a, float s, float* out, std::size_t n) = nullptr;
    void (*add_scaled)(const float* a, float s, float* out, std::size_t n) = nullptr;  // out = fma(a, s, out)
    void (*softcap)(const float* a, float cap, float* out, std::size_t n) = nullptr;  // out = cap * tanh(a / cap)
    void (*activate)(Activation kind, const float* x, float* out, std::size_t n) = nullptr;
    // out = activation(gate) * up
    void (*gated)(Activation kind, const float* gate, const float* up, float* out, std::size_t n) = nullptr;
    // p = softmax(x) over n > 0. x == p allowed.
    void (*softmax)(const float* x, float* p, std::size_t n) = nullptr;
    // Rotates `heads` heads of head_dim in place, the first n_rot dimensions of each; cos and sin hold n_rot/2 each.
    void (*rope)(float* x, std::size_t heads, std::size_t head_dim, std::size_t n_rot, const float* cos,
                 const float* sin, RopeMode mode) = nullptr;

    // Store one position (0..63) of one KV head in its page.
    void (*kv_store)(void* page, KvType type, std::size_t k_dim, std::size_t v_dim, std::size_t position,
                     const float* k, const float* v) = nullptr;
    void (*attention)(const AttentionArgs& args) = nullptr;
    // Merges chunk b into a, in place: running maximum, sum and output of one row.
    void (*attention_merge)(float* ma, float* la, float* oa, float mb, float lb, const float* ob,
                            std::size_t v_dim) = nullptr;
    // out = o / l for one row; sink (null: none) is one more score in the denominator. l == 0 gives zeros.
    void (*attention_finish)(float m, float l, const float* o, const float* sink, float* out,
                             std::size_t v_dim) = nullptr;
};

// Tables, slowest first. Defined in ref/table.cpp and <isa>/table.cpp.
const KernelTable& table_ref() noexcept;
const KernelTable& table_avx2() noexcept;
const KernelTable& table_avxvnni() noexcept;
const KernelTable& table_avx512() noexcept;
const KernelTable& table_neon() noexcept;

// Same everywhere, so one implementation: the angle table of one position. inv_freq (n/2 doubles), position, and
// attention factor -> cos and sin (n/2 floats each), multiplied by the factor.
void rope_table(const double* inv_freq, std::size_t n_half, double position, float factor, float* cos, float* sin);
// inv_freq[i] = base^(-2i/n), by Tern's own exp and log.
void rope_inv_freq(double base, std::size_t n, double* inv_freq);

inline ActKind act_kind(DType dtype) noexcept {
    const std::uint32_t block = info(dtype).block;
    return block == 1 ? ActKind::f32 : block == 32 ? ActKind::q8_32 : ActKind::q8_256;
}

}  // namespace tern::kernels
