#version 450
// Row i of the result is row output[i] of the input.
#include "common.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint cols; };
layout(set = 0, binding = 1) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) writeonly buffer OutBuffer { float y[]; };

void main() {
    uint i = flat_index(64), row = i / cols;
    if (row < batch[kOutputs]) y[i] = x[batch_word(kOutputRows, row) * cols + i % cols];
}
