#version 450
// Norms of equal parts of rows, a workgroup a part. MEAN: (x - mean) / sqrt(variance + eps), else x / sqrt(mean of squares +
// eps); then · w + b where there are any, of a part or (OWN) of each of a row's parts. Sums are those of docs/numerics.md:
// 16 lanes, or all if there are fewer, walk the stripes.
#include "common.glsl"
#include "exact.glsl"
layout(constant_id = 0) const uint LANES = 32;
layout(constant_id = 1) const bool MEAN = false;
layout(constant_id = 2) const bool WEIGHT = false;
layout(constant_id = 3) const bool BIAS = false;
layout(constant_id = 4) const bool OWN = false;
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint cols, domain, per_row, groups; float eps; };  // cols: of a part
layout(set = 0, binding = 1) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) readonly buffer WeightBuffer { float w[]; };
layout(set = 0, binding = 3) readonly buffer BiasBuffer { float b[]; };
layout(set = 0, binding = 4) writeonly buffer OutBuffer { float y[]; };

// Many lanes bring a piece of the part near the 16 that walk it.
const bool STAGED = LANES > 16;
const uint kPiece = 2048;
shared float piece[STAGED ? kPiece : 1];
shared float stripes[16];

void add_term(inout float sum, float v, bool squares, float mean) {
    if (squares) {
        float c = MEAN ? v - mean : v;
        sum = fma(c, c, sum);
    } else {
        sum = sum + v;
    }
}

float striped_sum(uint row, uint lane, bool squares, float mean) {
    const uint kWalkers = STAGED ? 16 : LANES;
    float s[4];  // at least 4 walkers
    [[unroll]] for (uint j = 0; j < 16 / kWalkers; ++j) s[j] = 0.0;
    if (STAGED) {
        for (uint first = 0; first < cols; first += kPiece) {
            uint n = min(cols - first, kPiece);
            barrier();
            for (uint i = lane; i < n; i += LANES) piece[i] = x[row + first + i];
            barrier();
            if (lane < 16)
                for (uint i = lane; i < n; i += 16) add_term(s[0], piece[i], squares, mean);
        }
    } else {
        uint whole = cols / 16 * 16;
        for (uint i = lane; i < whole; i += 16)
            [[unroll]] for (uint j = 0; j < 16 / kWalkers; ++j)
                add_term(s[j], x[row + i + j * kWalkers], squares, mean);
        [[unroll]] for (uint j = 0; j < 16 / kWalkers; ++j) {
            uint i = whole + lane + j * kWalkers;
            if (i < cols) add_term(s[j], x[row + i], squares, mean);
        }
    }
    barrier();
    if (lane < kWalkers)
        [[unroll]] for (uint j = 0; j < 16 / kWalkers; ++j) stripes[lane + j * kWalkers] = s[j];
    barrier();
    float all[16];
    [[unroll]] for (uint j = 0; j < 16; ++j) all[j] = stripes[j];
    return tree(all);
}

void main() {
    if (flat_group() >= row_count(domain, per_row) * groups) return;
    uint row = flat_group() * cols, lane = gl_LocalInvocationID.x, own = OWN ? flat_group() % groups * cols : 0;
    float mean = MEAN ? quotient(striped_sum(row, lane, false, 0.0), float(cols)) : 0.0;
    float square = quotient(striped_sum(row, lane, true, mean), float(cols));
    float scale = quotient(1.0, root(square + eps));
    for (uint i = lane; i < cols; i += LANES) {
        float v = (MEAN ? x[row + i] - mean : x[row + i]) * scale;
        if (BIAS)
            v = fma(v, WEIGHT ? w[own + i] : 1.0, b[own + i]);
        else if (WEIGHT)
            v = v * w[own + i];
        y[row + i] = v;
    }
}
