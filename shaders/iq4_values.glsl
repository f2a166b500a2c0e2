// Four codes, in the low halves of bytes, to values of the table of IQ4_NL and IQ4_XS (kIq4Values).
uint iq4_values(uint codes) {
    // Bytes -127, -104, -83, -65 | -49, -35, -22, -10 | 1, 13, 25, 38 | 53, 69, 89, 113.
    const uint table[4] = {0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u};
    uint q = 0u;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        uint code = codes >> (8 * i) & 15u;
        uint four = code < 8u ? (code < 4u ? table[0] : table[1]) : (code < 12u ? table[2] : table[3]);
        q |= (four >> (8u * (code & 3u)) & 255u) << (8 * i);
    }
    return q;
}
