// Detection and choice: the forced set is the one that runs.
#include "kernels/registry.h"

#include <fstream>
#include <set>
#include <sstream>

#include "tests/kernels/kernel_test.h"

namespace tern::kernels {
namespace {

const KernelTable* own_table(std::string_view name) {
    if (name == "scalar") return &table_ref();
#if defined(__x86_64__)
    if (name == "avx2") return &table_avx2();
    if (name == "avxvnni") return &table_avxvnni();
    if (name == "avx512") return &table_avx512();
#elif defined(__aarch64__)
    if (name == "neon") return &table_neon();
#endif
    return nullptr;
}

// Matrix products only: the rest is the AVX2 set's.
bool only_adds_products(std::string_view name) { return name == "avxvnni"; }

TEST(Registry, ReferenceFillsEverySlot) {
    const KernelTable& t = table_ref();
    EXPECT_STREQ(t.name, "scalar");
    for (const DTypeInfo& i : all_dtypes()) {
        const MatmulKernel& m = t.matmul[static_cast<std::size_t>(i.dtype)];
        EXPECT_TRUE(m.run && m.scratch_bytes) << i.name;
    }
    EXPECT_TRUE(t.quantize_q8_256 && t.quantize_q8_32 && t.rms_norm && t.layer_norm && t.add && t.mul && t.scale &&
                t.add_scaled && t.softcap && t.activate && t.gated && t.softmax && t.rope && t.kv_store &&
                t.attention && t.attention_merge && t.attention_finish);
}

TEST(Registry, ListsSlowestFirstAndScalarAlways) {
    const IsaList none = isas(CpuFeatures{});
    ASSERT_GE(none.count, 1u);
    EXPECT_STREQ(none.items[0].name, "scalar");
    EXPECT_TRUE(none.items[0].built && none.items[0].usable);
    for (std::size_t i = 1; i < none.count; ++i) EXPECT_FALSE(none.items[i].usable) << none.items[i].name;
}

TEST(Registry, ABareCpuGetsTheReference) {
    const auto set = select(CpuFeatures{});
    ASSERT_TRUE(set);
    EXPECT_STREQ(set->isa, "scalar");
    EXPECT_EQ(set->table.attention, table_ref().attention);
}

TEST(Registry, RefusesWhatIsUnknownOrUnusable) {
    const CpuFeatures cpu = detect_cpu();
    EXPECT_FALSE(select(cpu, "avx1024"));
    EXPECT_FALSE(select(cpu, "AVX2"));
    EXPECT_FALSE(select(CpuFeatures{}, "avx2"));
    EXPECT_FALSE(select(CpuFeatures{}, "avx512"));
    CpuFeatures only_avx2;
    only_avx2.avx2 = true;
    EXPECT_FALSE(select(only_avx2, "avxvnni"));
    EXPECT_FALSE(select(only_avx2, "avx512"));
}

TEST(Registry, TheDefaultIsTheFastestUsable) {
    const CpuFeatures cpu = detect_cpu();
    const IsaList list = isas(cpu);
    std::string fastest;
    for (std::size_t i = 0; i < list.count; ++i)
        if (list.items[i].usable) fastest = list.items[i].name;
    EXPECT_EQ(select(cpu)->isa, fastest);
    EXPECT_EQ(select(cpu)->isa, std::string(select(cpu, fastest)->isa));
}

class RegistryForced : public testing::TestWithParam<std::string> {};

// Where the set has a kernel of its own, that very function is chosen; elsewhere a slower set's, never a faster one's.
TEST_P(RegistryForced, RunsTheForcedSet) {
    const KernelTable* own = own_table(GetParam());
    ASSERT_NE(own, nullptr);
    EXPECT_EQ(own->name, GetParam());
    const auto set = select(detect_cpu(), GetParam());
    ASSERT_TRUE(set);
    EXPECT_EQ(set->isa, GetParam());
    EXPECT_EQ(set->table.name, GetParam());
    const KernelTable* slower = only_adds_products(GetParam()) ? own_table("avx2") : &table_ref();
    auto check = [&](auto member, const char* what) {
        ASSERT_NE(set->table.*member, nullptr) << what;
        if (own->*member)
            EXPECT_EQ(set->table.*member, own->*member) << what;
        else
            EXPECT_EQ(set->table.*member, slower->*member) << what;
    };
    check(&KernelTable::quantize_q8_256, "quantize_q8_256");
    check(&KernelTable::quantize_q8_32, "quantize_q8_32");
    check(&KernelTable::rms_norm, "rms_norm");
    check(&KernelTable::layer_norm, "layer_norm");
    check(&KernelTable::add, "add");
    check(&KernelTable::mul, "mul");
    check(&KernelTable::scale, "scale");
    check(&KernelTable::add_scaled, "add_scaled");
    check(&KernelTable::softcap, "softcap");
    check(&KernelTable::activate, "activate");
    check(&KernelTable::gated, "gated");
    check(&KernelTable::softmax, "softmax");
    check(&KernelTable::rope, "rope");
    check(&KernelTable::kv_store, "kv_store");
    check(&KernelTable::attention, "attention");
    check(&KernelTable::attention_merge, "attention_merge");
    check(&KernelTable::attention_finish, "attention_finish");
    for (const DTypeInfo& i : all_dtypes()) {
        const auto slot = static_cast<std::size_t>(i.dtype);
        ASSERT_NE(set->table.matmul[slot].run, nullptr) << i.name;
        ASSERT_NE(set->table.matmul[slot].scratch_bytes, nullptr) << i.name;
        EXPECT_GE(set->table.matmul[slot].row_tile, 1u);
        const KernelTable* origin = own_table(set->matmul_isa[slot]);
        ASSERT_NE(origin, nullptr) << i.name;
        EXPECT_EQ(set->table.matmul[slot].run, origin->matmul[slot].run) << i.name;
        if (own->matmul[slot].run) {
            EXPECT_EQ(set->matmul_isa[slot], GetParam()) << i.name;
        }
    }
}
TERN_FOR_ALL_ISAS(RegistryForced);

// Every instruction set has its own version of every operation, so that forcing one tests that one; one that only adds
// products has all the quantised ones.
TEST(Registry, FastSetsAreComplete) {
    for (const std::string& name : test::fast_isas()) {
        const KernelTable* own = own_table(name);
        ASSERT_NE(own, nullptr);
        if (only_adds_products(name)) {
            for (const DTypeInfo& i : all_dtypes())
                EXPECT_EQ(own->matmul[static_cast<std::size_t>(i.dtype)].run != nullptr, i.block > 1) << i.name;
            continue;
        }
        EXPECT_TRUE(own->quantize_q8_256 && own->quantize_q8_32 && own->rms_norm && own->layer_norm && own->add &&
                    own->mul && own->scale && own->add_scaled && own->softcap && own->activate && own->gated &&
                    own->softmax && own->rope &&
                    own->kv_store && own->attention && own->attention_merge && own->attention_finish)
            << name;
        for (DType d : {DType::F32, DType::F16, DType::BF16})
            EXPECT_TRUE(own->matmul[static_cast<std::size_t>(d)].run) << name << " " << to_string(d);
    }
}

// Two sets that shared a function by mistake would make "the forced one ran" an empty claim.
TEST(Registry, NoFunctionBelongsToTwoSets) {
    std::vector<const KernelTable*> tables;
    for (const char* name : {"scalar", "avx2", "avxvnni", "avx512", "neon"})
        if (const KernelTable* table = own_table(name)) tables.push_back(table);
    ASSERT_GE(tables.size(), 1u);
    for (const KernelTable* a : tables)
        for (const KernelTable* b : tables) {
            if (a == b) continue;
            auto differ = [&](auto member, const char* what) {
                if (a->*member) {
                    EXPECT_NE(a->*member, b->*member) << what << " of " << a->name << " and " << b->name;
                }
            };
            differ(&KernelTable::quantize_q8_256, "quantize_q8_256");
            differ(&KernelTable::quantize_q8_32, "quantize_q8_32");
            differ(&KernelTable::rms_norm, "rms_norm");
            differ(&KernelTable::layer_norm, "layer_norm");
            differ(&KernelTable::add, "add");
            differ(&KernelTable::mul, "mul");
            differ(&KernelTable::scale, "scale");
            differ(&KernelTable::add_scaled, "add_scaled");
            differ(&KernelTable::softcap, "softcap");
            differ(&KernelTable::activate, "activate");
            differ(&KernelTable::gated, "gated");
            differ(&KernelTable::softmax, "softmax");
            differ(&KernelTable::rope, "rope");
            differ(&KernelTable::kv_store, "kv_store");
            differ(&KernelTable::attention, "attention");
            differ(&KernelTable::attention_merge, "attention_merge");
            differ(&KernelTable::attention_finish, "attention_finish");
            for (const DTypeInfo& i : all_dtypes()) {
                const auto slot = static_cast<std::size_t>(i.dtype);
                if (a->matmul[slot].run) {
                    EXPECT_NE(a->matmul[slot].run, b->matmul[slot].run) << i.name;
                }
            }
        }
}

#if defined(__x86_64__)
// The choice follows the features it is given, not the machine's: nothing of AVX-512 on a CPU without it.
TEST(Registry, ACpuWithoutAvx512GetsAvx2) {
    CpuFeatures only_avx2;
    only_avx2.avx2 = true;
    const auto set = select(only_avx2);
    ASSERT_TRUE(set);
    EXPECT_STREQ(set->isa, "avx2");
    EXPECT_EQ(set->table.attention, table_avx2().attention);
    for (const DTypeInfo& i : all_dtypes())
        EXPECT_STREQ(set->matmul_isa[static_cast<std::size_t>(i.dtype)], "avx2") << i.name;
}

// Processors with VNNI in 256 bits only: its products, and the rest of AVX2.
TEST(Registry, ACpuWithAvxVnniAloneGetsItsProducts) {
    CpuFeatures cpu;
    cpu.avx2 = cpu.avx_vnni = true;
    const auto set = select(cpu);
    ASSERT_TRUE(set);
    EXPECT_STREQ(set->isa, "avxvnni");
    EXPECT_EQ(set->table.attention, table_avx2().attention);
    for (const DTypeInfo& i : all_dtypes())
        EXPECT_STREQ(set->matmul_isa[static_cast<std::size_t>(i.dtype)], i.block > 1 ? "avxvnni" : "avx2") << i.name;
}
#endif

// ---- the words that a processor gives -----------------------------------------------------------------------------
struct WordBit {
    const char* what;
    std::uint32_t X86Words::*word;
    unsigned bit;
    bool avx2, avx_vnni, avx512, avx512_bf16, amx_int8;  // what is lost without it
};
const WordBit kWordBits[] = {
    {"FMA", &X86Words::leaf1_ecx, 12, true, true, true, true, false},
    {"OSXSAVE", &X86Words::leaf1_ecx, 27, true, true, true, true, true},
    {"AVX", &X86Words::leaf1_ecx, 28, true, true, true, true, false},
    {"F16C", &X86Words::leaf1_ecx, 29, true, true, true, true, false},
    {"AVX2", &X86Words::leaf7_ebx, 5, true, true, true, true, false},
    {"AVX512F", &X86Words::leaf7_ebx, 16, false, false, true, true, false},
    {"AVX512DQ", &X86Words::leaf7_ebx, 17, false, false, true, true, false},
    {"AVX512BW", &X86Words::leaf7_ebx, 30, false, false, true, true, false},
    {"AVX512VL", &X86Words::leaf7_ebx, 31, false, false, true, true, false},
    {"AVX512_VNNI", &X86Words::leaf7_ecx, 11, false, false, true, true, false},
    {"AMX-TILE", &X86Words::leaf7_edx, 24, false, false, false, false, true},
    {"AMX-INT8", &X86Words::leaf7_edx, 25, false, false, false, false, true},
    {"AVX-VNNI", &X86Words::leaf7_1_eax, 4, false, true, false, false, false},
    {"AVX512_BF16", &X86Words::leaf7_1_eax, 5, false, false, false, true, false},
};
constexpr std::uint64_t kAllStates = 0x600e7;  // x87, SSE, AVX, opmask, ZMM_Hi256, Hi16_ZMM, XTILECFG, XTILEDATA

X86Words words_with_everything() {
    X86Words w;
    for (const WordBit& b : kWordBits) w.*b.word |= 1u << b.bit;
    w.xcr0 = kAllStates;
    return w;
}

TEST(Cpu, EveryBitIsNeeded) {
    const CpuFeatures all = features_of(words_with_everything());
    EXPECT_TRUE(all.avx2 && all.avx_vnni && all.avx512 && all.avx512_bf16 && all.amx_int8);
    for (const WordBit& b : kWordBits) {
        X86Words w = words_with_everything();
        w.*b.word &= ~(1u << b.bit);
        const CpuFeatures f = features_of(w);
        EXPECT_EQ(f.avx2, !b.avx2) << b.what;
        EXPECT_EQ(f.avx_vnni, !b.avx_vnni) << b.what;
        EXPECT_EQ(f.avx512, !b.avx512) << b.what;
        EXPECT_EQ(f.avx512_bf16, !b.avx512_bf16) << b.what;
        EXPECT_EQ(f.amx_int8, !b.amx_int8) << b.what;
    }
}

// A processor may have what the operating system (or the hypervisor) does not save on a task switch.
TEST(Cpu, RegistersThatTheSystemDoesNotSaveAreNotUsed) {
    for (unsigned state = 0; state < 20; ++state) {
        X86Words w = words_with_everything();
        w.xcr0 &= ~(std::uint64_t{1} << state);
        const CpuFeatures f = features_of(w);
        const bool avx = state == 1 || state == 2;
        const bool avx512 = avx || (state >= 5 && state <= 7);
        EXPECT_EQ(f.avx2, !avx) << "XCR0 bit " << state;
        EXPECT_EQ(f.avx_vnni, !avx) << "XCR0 bit " << state;
        EXPECT_EQ(f.avx512, !avx512) << "XCR0 bit " << state;
        EXPECT_EQ(f.avx512_bf16, !avx512) << "XCR0 bit " << state;
        EXPECT_EQ(f.amx_int8, !(state == 17 || state == 18)) << "XCR0 bit " << state;
        ASSERT_TRUE(select(f));
        if (avx) {
            EXPECT_STREQ(select(f)->isa, "scalar");
            EXPECT_FALSE(select(f, "avx2"));
            EXPECT_FALSE(select(f, "avxvnni"));
        }
        if (avx512) {
            EXPECT_STRNE(select(f)->isa, "avx512");
            EXPECT_FALSE(select(f, "avx512"));
        }
    }
    EXPECT_FALSE(features_of({}).avx2 || features_of({}).avx512 || features_of({}).amx_int8);
}

#if defined(__x86_64__) && defined(__linux__)
// The kernel's own view: it hides what the operating system does not save.
TEST(Cpu, AgreesWithTheOperatingSystem) {
    std::ifstream in("/proc/cpuinfo");
    if (!in) GTEST_SKIP() << "/proc/cpuinfo cannot be read";
    std::set<std::string> flags;
    std::string name;
    for (std::string line; std::getline(in, line) && (flags.empty() || name.empty());) {
        std::istringstream value(line.substr(std::min(line.size(), line.find(':') + 1)));
        if (line.starts_with("flags"))
            for (std::string flag; value >> flag;) flags.insert(flag);
        if (line.starts_with("model name")) std::getline(value >> std::ws, name);
    }
    auto has = [&](std::initializer_list<const char*> all) {
        for (const char* flag : all)
            if (!flags.contains(flag)) return false;
        return true;
    };
    const CpuFeatures cpu = detect_cpu();
    EXPECT_EQ(cpu.avx2, has({"avx2", "fma", "f16c"}));
    EXPECT_EQ(cpu.avx512, has({"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"}));
    EXPECT_EQ(cpu.avx512_bf16, has({"avx512_bf16"}));
    EXPECT_EQ(cpu.avx_vnni, has({"avx_vnni"}));
    EXPECT_EQ(cpu.amx_int8, has({"amx_tile", "amx_int8"}));
    EXPECT_FALSE(cpu.neon_dotprod);
    EXPECT_EQ(std::string(cpu.name), name.substr(0, sizeof cpu.name - 1));
}
#endif

#if defined(__aarch64__) && defined(__linux__)
// The kernel's own list of features.
TEST(Cpu, AgreesWithTheOperatingSystem) {
    std::ifstream in("/proc/cpuinfo");
    std::set<std::string> features;
    for (std::string line; std::getline(in, line) && features.empty();) {
        if (!line.starts_with("Features")) continue;
        std::istringstream value(line.substr(std::min(line.size(), line.find(':') + 1)));
        for (std::string feature; value >> feature;) features.insert(feature);
    }
    if (features.empty()) GTEST_SKIP() << "/proc/cpuinfo has no features (an emulator shows its host's)";
    const CpuFeatures cpu = detect_cpu();
    EXPECT_EQ(cpu.neon_dotprod, features.contains("asimddp"));
    EXPECT_FALSE(cpu.avx2 || cpu.avx512);
}
#endif

TEST(Cpu, SaysTheSameTwice) {
    const CpuFeatures a = detect_cpu();
    const CpuFeatures b = detect_cpu();
    EXPECT_EQ(a.avx2, b.avx2);
    EXPECT_EQ(a.avx512, b.avx512);
    EXPECT_EQ(a.neon_dotprod, b.neon_dotprod);
    EXPECT_STREQ(a.name, b.name);
    EXPECT_TRUE(a.avx2 || !a.avx512);
}

}  // namespace
}  // namespace tern::kernels
