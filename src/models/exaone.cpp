// EXAONE 3 (LG AI Research, arXiv:2408.03541): Llama with rotary pairs of halves, and Llama 3's factors of
// the angles.
#include "models/parts.h"

namespace tern::models {

Definition define_exaone(Loader& in) { return rms_norm_decoder(in, RopeMode::halves, Bias::none); }

}  // namespace tern::models
