#version 450
// Norms of equal parts of rows, a workgroup a part. MEAN: (x - mean) / sqrt(variance + eps), else x / sqrt(mean of squares +
// eps); then · w + b where there are any, of a part or (OWN) of each of a row's parts.
#include "common.glsl"
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
#include "reduce.glsl"

void main() {
    if (flat_group() >= row_count(domain, per_row) * groups) return;
    uint row = flat_group() * cols, lane = gl_LocalInvocationID.x, own = OWN ? flat_group() % groups * cols : 0;
    float mean = 0.0;
    if (MEAN) {
        float sum = 0.0;
        for (uint i = lane; i < cols; i += LANES) sum += x[row + i];
        mean = workgroup_sum(sum, LANES) / float(cols);
    }
    float squares = 0.0;
    for (uint i = lane; i < cols; i += LANES) {
        float d = x[row + i] - mean;
        squares = fma(d, d, squares);
    }
    float scale = 1.0 / sqrt(workgroup_sum(squares, LANES) / float(cols) + eps);
    for (uint i = lane; i < cols; i += LANES) {
        float v = (x[row + i] - mean) * scale;
        if (WEIGHT) v *= w[own + i];
        if (BIAS) v += b[own + i];
        y[row + i] = v;
    }
}
