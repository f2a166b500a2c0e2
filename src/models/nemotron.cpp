// Nemotron-4 and Minitron (Parmar et al., arXiv:2402.16819): LayerNorm with biases (files add the 1 of its "1
// + weight"), rotary positions on half of each head, squared ReLU without a gate.
#include "models/parts.h"

namespace tern::models {

Definition define_nemotron(Loader& in) { return layer_norm_decoder(in, Activation::relu_squared, Bias::optional); }

}  // namespace tern::models
