// InternLM2 (Cai et al., arXiv:2403.17297): Llama's arithmetic. Files have its interleaved query, key and
// value matrix taken apart.
#include "models/parts.h"

namespace tern::models {

Definition define_internlm2(Loader& in) { return rms_norm_decoder(in, RopeMode::adjacent, Bias::none); }

}  // namespace tern::models
