// The end of a striped sum (docs/numerics.md, "Sums").
float tree(float s[16]) {
    [[unroll]] for (uint width = 8; width > 0; width /= 2)
        [[unroll]] for (uint i = 0; i < width; ++i) s[i] += s[i + width];
    return s[0];
}
