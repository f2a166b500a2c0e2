#version 450
// y = x / sqrt(mean of squares + eps) · w, a workgroup a row.
#include "common.glsl"
layout(constant_id = 0) const uint LANES = 32;
layout(constant_id = 1) const bool WEIGHT = false;
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint cols, domain, per_row; float eps; };
layout(set = 0, binding = 1) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) readonly buffer WeightBuffer { float w[]; };
layout(set = 0, binding = 3) writeonly buffer OutBuffer { float y[]; };
#include "reduce.glsl"

void main() {
    if (flat_group() >= row_count(domain, per_row)) return;
    uint row = flat_group() * cols, lane = gl_LocalInvocationID.x;
    float sum = 0.0;
    for (uint i = lane; i < cols; i += LANES) sum = fma(x[row + i], x[row + i], sum);
    float scale = 1.0 / sqrt(workgroup_sum(sum, LANES) / float(cols) + eps);
    for (uint i = lane; i < cols; i += LANES) y[row + i] = WEIGHT ? x[row + i] * scale * w[i] : x[row + i] * scale;
}
