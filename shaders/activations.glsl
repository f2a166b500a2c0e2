// docs/numerics.md, "Activations".
#include "exact.glsl"

// kernels::Activation, in its order.
const uint kSilu = 0, kGelu = 1, kGeluErf = 2, kReluSquared = 3, kSigmoid = 4, kClampedSilu = 5;

float activation(uint kind, float x) {
    if (kind == kSilu) return quotient(x, 1.0 + exp_(-x));
    if (kind == kGelu) {
        float inner = fma(x * x, uintBitsToFloat(0xbd922279u), uintBitsToFloat(0xbfcc422au));
        return quotient(x, 1.0 + exp_(x * inner));
    }
    if (kind == kGeluErf) return x * 0.5 * (1.0 + erf_(x * uintBitsToFloat(0x3f3504f3u)));
    if (kind == kReluSquared) return x < 0.0 ? 0.0 : x * x;
    return quotient(1.0, 1.0 + exp_(-x));
}

float clamped_silu(float gate, float up) {
    float g = isnan(gate) ? gate : min(gate, 7.0), u = isnan(up) ? up : clamp(up, -7.0, 7.0);
    return quotient(g, 1.0 + exp_(g * uintBitsToFloat(0xbfd9db23u))) * (u + 1.0);
}
