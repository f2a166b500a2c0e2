// Qwen2 (Yang et al., arXiv:2407.10671): Llama with rotary pairs of halves and biases on queries, keys and
// values.
#include "models/parts.h"

namespace tern::models {

Definition define_qwen2(Loader& in) { return rms_norm_decoder(in, RopeMode::halves, Bias::required); }

}  // namespace tern::models
