// The 6-bit scale and minimum of 32 elements, number j, out of the 12 bytes that Q4_K and Q5_K share.
uvec2 scale_and_min(uint j, uint a, uint b, uint c) {
    uint shift = 8u * (j & 3u);
    if (j < 4u) return uvec2(a >> shift & 63u, b >> shift & 63u);
    uint low = c >> shift;
    return uvec2((low & 15u) | (a >> shift >> 6 & 3u) << 4, (low >> 4 & 15u) | (b >> shift >> 6 & 3u) << 4);
}
