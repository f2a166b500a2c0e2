#version 450
// The best `used` experts of a row and their weights (graph::Routing). SCORE: 0 softmax of all, 1 sigmoid, 2 softmax of the
// chosen ones. An invocation a row.
#include "common.glsl"
layout(constant_id = 0) const uint SCORE = 0;
layout(constant_id = 1) const bool BIAS = false;
layout(local_size_x = 32) in;
layout(push_constant) uniform Push {
    uint experts, used, domain, per_row, normalise, slots, groups, groups_used;
    float scale;
};
layout(set = 0, binding = 1) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) buffer RoutingBuffer { uint routing[]; };
layout(set = 0, binding = 3) readonly buffer BiasBuffer { float bias[]; };

const float kOut = -3.0e38;  // an expert that does not take part

float number(uint i) { return uintBitsToFloat(routing[i]); }

void main() {
    uint row = flat_index(32);
    if (row >= row_count(domain, per_row)) return;
    // What chooses: s + bias, in the row's own part behind the slots.
    uint choice = 4 * slots + experts + 1 + row * 2 * experts, scores = choice + experts, at = row * experts;
    float most = x[at];
    for (uint e = 1; e < experts; ++e) most = max(most, x[at + e]);
    float sum = 0.0;
    if (SCORE == 0)
        for (uint e = 0; e < experts; ++e) sum += exp(x[at + e] - most);
    for (uint e = 0; e < experts; ++e) {
        float v = x[at + e];
        float s = SCORE == 0 ? exp(v - most) / sum : SCORE == 1 ? 1.0 / (1.0 + exp(-v)) : v;
        routing[scores + e] = floatBitsToUint(s);
        routing[choice + e] = floatBitsToUint(BIAS ? s + bias[e] : s);
    }
    if (groups > 1) {
        uint n = experts / groups;
        for (uint left = groups; left > groups_used; --left) {
            uint worst = groups;
            float least = 0.0;
            for (uint g = 0; g < groups; ++g) {
                if (number(choice + g * n) == kOut) continue;
                float first = kOut, second = kOut;
                for (uint e = g * n; e < (g + 1) * n; ++e) {
                    float v = number(choice + e);
                    if (v > first) {
                        second = first;
                        first = v;
                    } else {
                        second = max(second, v);
                    }
                }
                float two = n > 1 ? first + second : first;
                if (worst == groups || two <= least) {
                    worst = g;
                    least = two;
                }
            }
            for (uint e = worst * n; e < (worst + 1) * n; ++e) routing[choice + e] = floatBitsToUint(kOut);
        }
    }
    float chosen = 0.0, top = 0.0;
    for (uint rank = 0; rank < used; ++rank) {
        uint best = experts;
        for (uint e = 0; e < experts; ++e) {
            bool taken = false;
            for (uint before = 0; before < rank; ++before) taken = taken || routing[row * used + before] == e;
            if (!taken && (best == experts || number(choice + e) > number(choice + best))) best = e;
        }
        float w = number(scores + best);
        if (SCORE == 2) {
            if (rank == 0) top = w;
            w = exp(w - top);
        }
        routing[row * used + rank] = best;
        routing[slots + row * used + rank] = floatBitsToUint(w);
        chosen += w;
    }
    float divisor = normalise != 0 ? (SCORE == 2 ? 1.0 : chosen + 1e-20) : 1.0;
    if (SCORE == 2) divisor = chosen;
    for (uint rank = 0; rank < used; ++rank)
        routing[slots + row * used + rank] = floatBitsToUint(number(slots + row * used + rank) / divisor * scale);
}
