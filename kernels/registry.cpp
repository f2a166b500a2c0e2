#include "kernels/registry.h"

#include <cstring>

namespace tern::kernels {
namespace {

bool always(const CpuFeatures&) noexcept { return true; }

struct Isa {
    const char* name;
    const KernelTable& (*table)() noexcept;  // null: not in this build
    bool (*usable)(const CpuFeatures&) noexcept;
};

#ifdef TERN_HAVE_AVX2
#define TERN_TABLE_AVX2 table_avx2
#else
#define TERN_TABLE_AVX2 nullptr
#endif
#ifdef TERN_HAVE_AVXVNNI
#define TERN_TABLE_AVXVNNI table_avxvnni
#else
#define TERN_TABLE_AVXVNNI nullptr
#endif
#ifdef TERN_HAVE_AVX512
#define TERN_TABLE_AVX512 table_avx512
#else
#define TERN_TABLE_AVX512 nullptr
#endif
#ifdef TERN_HAVE_NEON
#define TERN_TABLE_NEON table_neon
#else
#define TERN_TABLE_NEON nullptr
#endif

// Slowest first. An instruction set is one line here and one in cmake/isas.cmake.
constexpr Isa kIsas[] = {
    {"scalar", table_ref, always},
    {"avx2", TERN_TABLE_AVX2, [](const CpuFeatures& c) noexcept { return c.avx2; }},
    {"avxvnni", TERN_TABLE_AVXVNNI, [](const CpuFeatures& c) noexcept { return c.avx_vnni; }},
    {"avx512", TERN_TABLE_AVX512, [](const CpuFeatures& c) noexcept { return c.avx512; }},
    {"neon", TERN_TABLE_NEON, [](const CpuFeatures& c) noexcept { return c.neon_dotprod; }},
};
constexpr std::size_t kIsaCount = sizeof kIsas / sizeof kIsas[0];
static_assert(kIsaCount <= sizeof(IsaList::items) / sizeof(IsaInfo));

template <class F>
void take(F& slot, F faster) noexcept {
    if (faster) slot = faster;
}

void overlay(KernelSet& set, const KernelTable& faster) noexcept {
    KernelTable& t = set.table;
    for (std::size_t i = 0; i < kFormatSlots; ++i)
        if (faster.matmul[i].run) {
            t.matmul[i] = faster.matmul[i];
            set.matmul_isa[i] = faster.name;
        }
    take(t.quantize_q8_256, faster.quantize_q8_256);
    take(t.quantize_q8_32, faster.quantize_q8_32);
    take(t.rms_norm, faster.rms_norm);
    take(t.layer_norm, faster.layer_norm);
    take(t.add, faster.add);
    take(t.mul, faster.mul);
    take(t.scale, faster.scale);
    take(t.add_scaled, faster.add_scaled);
    take(t.softcap, faster.softcap);
    take(t.activate, faster.activate);
    take(t.gated, faster.gated);
    take(t.softmax, faster.softmax);
    take(t.rope, faster.rope);
    take(t.kv_store, faster.kv_store);
    take(t.attention, faster.attention);
    take(t.attention_merge, faster.attention_merge);
    take(t.attention_finish, faster.attention_finish);
    t.name = faster.name;
    set.isa = faster.name;
}

bool usable(const Isa& isa, const CpuFeatures& cpu) noexcept { return isa.table && isa.usable(cpu); }

}  // namespace

IsaList isas(const CpuFeatures& cpu) noexcept {
    IsaList list{};
    for (const Isa& isa : kIsas)
        list.items[list.count++] = {isa.name, isa.table != nullptr, usable(isa, cpu)};
    return list;
}

std::optional<KernelSet> select(const CpuFeatures& cpu, std::string_view name) noexcept {
    std::size_t last = kIsaCount;  // one past the fastest allowed
    if (!name.empty()) {
        last = 0;
        while (last < kIsaCount && kIsas[last].name != name) ++last;
        if (last == kIsaCount || !usable(kIsas[last], cpu)) return std::nullopt;
        ++last;
    }
    KernelSet set{};
    for (const char*& origin : set.matmul_isa) origin = "";
    for (std::size_t i = 0; i < last; ++i)
        if (usable(kIsas[i], cpu)) overlay(set, kIsas[i].table());
    return set;
}

}  // namespace tern::kernels
