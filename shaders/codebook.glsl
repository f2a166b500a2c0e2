// The codebooks of the IQ formats. A weight's buffer ends with that of its format (src/backend/vulkan/weights.h), of
// `entries` words.
uint codebook(uint entries, uint i) { return last_word(entries, i); }

// Digits 0, 1, 2 of an IQ1 codebook to signed bytes 8 * (digit - 1) + shift, the shift being 1 or -1.
uvec2 iq1_values(uint entry, bool negative) {
    return ((uvec2(entry, entry >> 4) & 0x03030303u) * 8u + (negative ? 0x77777777u : 0x79797979u)) ^ 0x80808080u;
}

// Bytes of 1 … 127, negated where bits 0 … 3 of `signs` are set.
uint negated(uint q, uint signs) {
    uint ones = bits_to_bytes(signs);
    return (q ^ ones * 255u) + ones;
}
// Seven signs to eight: the last one makes the number of ones even.
uint even_signs(uint seven) { return seven | (uint(bitCount(seven)) & 1u) << 7; }

// Digits 0, 1, 2 of an IQ2 codebook to signed bytes of 8, 25, 43.
uvec2 iq2_values(uint entry, uint signs) {
    uvec2 digit = uvec2(entry, entry >> 4) & 0x03030303u;
    uvec2 q = 0x08080808u + digit * 17u + (digit >> 1 & 0x01010101u);
    return uvec2(negated(q.x, signs), negated(q.y, signs >> 4));
}
