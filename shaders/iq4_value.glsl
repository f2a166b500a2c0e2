// Value `q` of the table of IQ4_NL and IQ4_XS (kIq4Values): -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53,
// 69, 89, 113. They are those of a polynomial, rounded: the one with the least largest distance of its degree, 0.433.
float iq4_value(uint q) {
    float x = float(q) - 7.5;
    return roundEven(fma(fma(fma(fma(0.00158604, x, 0.07866772), x, -0.1371927), x, 11.517209), x, -4.301249));
}
