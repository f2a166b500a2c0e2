#include "kernels/ref/ref.h"

namespace tern::kernels {

const KernelTable& table_ref() noexcept {
    static const KernelTable table = [] {
        KernelTable t;
        t.name = "scalar";
        ref::fill_matmul(t);
        t.quantize_q8_256 = ref::quantize_q8_256;
        t.quantize_q8_32 = ref::quantize_q8_32;
        t.rms_norm = ref::rms_norm;
        t.layer_norm = ref::layer_norm;
        t.add = ref::add;
        t.mul = ref::mul;
        t.scale = ref::scale;
        t.add_scaled = ref::add_scaled;
        t.softcap = ref::softcap;
        t.activate = ref::activate;
        t.gated = ref::gated;
        t.softmax = ref::softmax;
        t.rope = ref::rope;
        t.kv_store = ref::kv_store;
        t.attention = ref::attention;
        t.attention_merge = ref::attention_merge;
        t.attention_finish = ref::attention_finish;
        return t;
    }();
    return table;
}

}  // namespace tern::kernels
