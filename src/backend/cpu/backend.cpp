#include "backend/cpu/backend.h"

#include <fmt/format.h>
#include <tern/error.h>

#include "backend/cpu/kv.h"
#include "backend/cpu/program.h"

namespace tern::backend::cpu {
namespace {

class CpuBackend final : public Backend {
public:
    CpuBackend(std::string name, std::string info, kernels::KernelSet set, std::unique_ptr<const DenseProduct> dense,
               unsigned threads)
        : name_(std::move(name)),
          info_(std::move(info)),
          kernels_(set),
          dense_(std::move(dense)),
          pool_(threads == 0 ? base::available_cores() : threads) {}

    std::string name() const override { return name_; }
    std::string isa() const override { return kernels_.isa; }
    std::string info() const override { return info_; }
    unsigned threads() const noexcept override { return pool_.size(); }
    std::unique_ptr<Program> compile(const graph::Graph& graph, const Limits& limits) override {
        return std::make_unique<CpuProgram>(graph, limits, kernels_, dense_.get(), pool_);
    }
    std::uint64_t scratch_bytes(const graph::Graph& graph, const Limits& limits) override {
        return CpuProgram::scratch_bytes(graph, limits, kernels_, dense_.get(), pool_);
    }
    std::unique_ptr<KvMemory> make_kv(const graph::Graph& graph, const KvGroups& groups, KvType type,
                                      std::uint32_t pages) override {
        return std::make_unique<CpuKv>(graph, groups, type, pages, kernels_.table);
    }
    WeightBytes weight_bytes(const graph::Graph& graph) override {
        // Where they lie already.
        const std::uint64_t all = graph::weight_bytes(graph);
        return {all, all};
    }

private:
    const std::string name_;
    const std::string info_;
    const kernels::KernelSet kernels_;
    const std::unique_ptr<const DenseProduct> dense_;  // null: none
    base::ThreadPool pool_;
};

std::unique_ptr<Backend> make(const char* name, const std::string& isa, unsigned threads,
                              std::unique_ptr<const DenseProduct> dense = nullptr, std::string info = {}) {
    const kernels::CpuFeatures cpu = kernels::detect_cpu();
    const std::optional<kernels::KernelSet> set = kernels::select(cpu, isa);
    if (!set) {
        std::string known;
        const kernels::IsaList list = kernels::isas(cpu);
        for (std::size_t i = 0; i < list.count; ++i)
            known += fmt::format("{}{}{}", i ? ", " : "", list.items[i].name,
                                 list.items[i].usable ? "" : " (not on this CPU)");
        throw Error(ErrorCode::unsupported,
                    fmt::format("instruction set '{}' is not available here; known: {}", isa, known));
    }
    return std::make_unique<CpuBackend>(name, std::move(info), *set, std::move(dense), threads);
}

}  // namespace

std::unique_ptr<Backend> make_cpu(const std::string& isa, unsigned threads) { return make("cpu", isa, threads); }

std::unique_ptr<Backend> make_ref(const std::string& isa, unsigned threads) {
    if (!isa.empty() && isa != "scalar")
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("backend 'ref' runs the scalar reference kernels; it has no instruction set '{}'", isa));
    return make("ref", "scalar", threads);
}

std::unique_ptr<Backend> make_with(std::unique_ptr<const DenseProduct> dense, const char* name, std::string info,
                                   const std::string& isa, unsigned threads) {
    return make(name, isa, threads, std::move(dense), std::move(info));
}

}  // namespace tern::backend::cpu
