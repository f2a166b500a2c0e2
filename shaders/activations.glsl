// kernels::Activation, in its order.
const uint kSilu = 0, kGelu = 1, kGeluErf = 2, kReluSquared = 3, kSigmoid = 4, kClampedSilu = 5;

// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: off by at most 1.5e-7.
float erf_(float x) {
    float t = 1.0 / (1.0 + 0.3275911 * abs(x));
    float p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - p * exp(-x * x));
}

float activation(uint kind, float x) {
    if (kind == kSilu) return x / (1.0 + exp(-x));
    if (kind == kGelu) return x / (1.0 + exp(x * fma(x * x, -0.0713548162726, -1.59576912161)));
    if (kind == kGeluErf) return x * 0.5 * (1.0 + erf_(x * 0.70710678118654752));
    if (kind == kReluSquared) return max(x, 0.0) * max(x, 0.0);
    return 1.0 / (1.0 + exp(-x));
}
