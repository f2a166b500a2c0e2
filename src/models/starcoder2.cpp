// StarCoder2 (Lozhkov et al., arXiv:2402.19173): LayerNorm and biases as in GPT-2, rotary positions,
// grouped-query attention.
#include "models/parts.h"

namespace tern::models {

Definition define_starcoder2(Loader& in) { return layer_norm_decoder(in, Activation::gelu, Bias::required); }

}  // namespace tern::models
