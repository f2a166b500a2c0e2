#version 450
// Copies columns [first, first + n) of each part of `from` columns of the input to columns [at, at + n) of each part of `to`
// columns of the result: slice, and each half of concat.
#include "common.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint n, domain, per_row, groups, from, first, to, at; };
layout(set = 0, binding = 1) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) writeonly buffer OutBuffer { float y[]; };

void main() {
    uint i = flat_index(64), part = i / n, column = i % n;
    if (part < row_count(domain, per_row) * groups) y[part * to + at + column] = x[part * from + first + column];
}
