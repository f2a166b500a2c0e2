// tern plan: the memory that a model, its KV cache and the intermediate results take, before they are taken.
#include <algorithm>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "common.h"

namespace tern::cli {
namespace {

struct PlanOptions {
    std::string model;
    RuntimeArgs runtime;
    std::uint32_t context = 0;
    std::uint32_t parallel = 1;
    KvType kv_type = KvType::f16;
    bool json = false;
};

// `parallel` sequences of the full context at once. max_context and max_parallel are not limited by kv_memory.
MemoryPlan plan_for(const Model& model, std::uint32_t context, std::uint32_t parallel, KvType kv_type) {
    EngineOptions options{.context = context, .kv_type = kv_type, .parallel = parallel};
    const MemoryPlan one = Engine::plan(model, options);
    options.context = one.context;
    options.kv_memory = parallel * one.kv;
    MemoryPlan all = Engine::plan(model, options);
    all.max_context = one.max_context;
    all.max_parallel = one.max_parallel;
    // A device may not take a cache of all that was allowed.
    all.fits &= all.parallel >= parallel;
    return all;
}

// The longest context that `parallel` sequences can have, in steps of what the cache is divided into; 0: none.
std::uint32_t longest_context(const Model& model, std::uint32_t most, std::uint32_t parallel, KvType kv_type) {
    std::uint32_t fits = 0, no = most + 1;
    while (no - fits > 1) {
        const std::uint32_t middle = fits + (no - fits) / 2;
        (plan_for(model, middle, parallel, kv_type).fits ? fits : no) = middle;
    }
    return fits;
}

const char* name_of(KvType type) {
    switch (type) {
        case KvType::f32: return "f32";
        case KvType::f16: return "f16";
        case KvType::q8_0: return "q8_0";
        case KvType::q4_0: return "q4_0";
    }
    return "?";
}

std::string sequences(std::uint32_t count) { return fmt::format("{} sequence{}", count, count == 1 ? "" : "s"); }

std::string layers(std::uint32_t count) {
    return count == 0 ? "the embedding" : fmt::format("{} layer{}", count, count == 1 ? "" : "s");
}

// What could be done instead, each with its number.
std::string advice(const Model& model, const MemoryPlan& plan, const PlanOptions& options) {
    std::vector<std::string> ways;
    if (const std::uint32_t context = longest_context(model, plan.context, options.parallel, options.kv_type))
        ways.push_back(fmt::format("--ctx {}", context));
    if (options.parallel > 1 && plan.max_parallel > 0) ways.push_back(fmt::format("--parallel {}", plan.max_parallel));
    if ((options.kv_type == KvType::f32 || options.kv_type == KvType::f16) &&
        plan_for(model, plan.context, options.parallel, KvType::q8_0).fits)
        ways.push_back("--kv-type q8_0");
    if (ways.empty()) return "a smaller model, or a format of fewer bits, would need less";
    std::string text = ways[0];
    for (std::size_t i = 1; i < ways.size(); ++i) text += (i + 1 == ways.size() ? " or " : ", ") + ways[i];
    return text + " would fit";
}

// Why layers are on the CPU although there are devices.
std::string layers_left(const MemoryPlan& plan, const std::string& backend) {
    if (!plan.why_left.empty())
        return fmt::format("{} on the CPU: {}.\n", layers(plan.layers_left), printable(plan.why_left));
    if (plan.layers_left == 0) return {};
    return fmt::format("{} on the CPU, as more would not fit on the devices of backend {}.\n", layers(plan.layers_left),
                       backend);
}

int run(const PlanOptions& options) {
    const bool limited = options.runtime.memory > 0;
    RuntimeArgs without_budget = options.runtime;
    without_budget.memory = 0;
    std::optional<Model> loaded;
    // The directory alone is read: the weights stay untouched in the file.
    try {
        loaded = Model::load(make_runtime(options.runtime), model_path(options.model));
    } catch (const Error& e) {
        if (!limited || e.code() != ErrorCode::out_of_memory) throw;
    }
    const bool weights_fit = loaded.has_value();
    if (!loaded) loaded = Model::load(make_runtime(without_budget), model_path(options.model));
    const Model& model = *loaded;
    const ModelInfo& info = model.info();
    // Beside devices 0, where nobody asked for a length, lets the plan shorten it before layers leave them.
    const bool may_shorten = model.runtime().backend() == "vulkan";
    const std::uint32_t context = options.context || may_shorten ? options.context : info.context_length;
    MemoryPlan plan = plan_for(model, context, options.parallel, options.kv_type);
    if (!weights_fit) {
        plan.budget = options.runtime.memory;
        plan.max_context = plan.max_parallel = 0;
        plan.fits = false;
    }
    // Without a limit of its own, mapped weights are the system's page cache, which gives way.
    std::uint64_t on_host = limited ? plan.total : plan.park;
    bool devices = false;
    for (const DevicePlan& d : plan.devices) {
        devices |= d.copied;
        if (!limited && !d.copied) on_host += d.weights + d.kv + d.scratch;
    }
    const bool weights_give_way = plan.fits && plan.budget > 0 && on_host > plan.budget;

    if (options.json) {
        nlohmann::ordered_json document;
        document["weights"] = plan.weights;
        document["kv"] = plan.kv;
        document["kv_per_token"] = plan.kv_per_token;
        document["kv_positions"] = plan.kv_positions;
        document["scratch"] = plan.scratch;
        document["total"] = plan.total;
        document["budget"] = plan.budget;
        document["fits"] = plan.fits;
        document["context"] = plan.context;
        document["parallel"] = options.parallel;
        document["kv_type"] = name_of(options.kv_type);
        document["model_context"] = info.context_length;
        document["max_context"] = plan.max_context;
        document["max_parallel"] = plan.max_parallel;
        document["layers_left"] = plan.layers_left;
        document["why_left"] = plan.why_left;
        document["devices"] = nlohmann::ordered_json::array();
        for (const DevicePlan& d : plan.devices)
            document["devices"].push_back({{"backend", d.backend},
                                           {"device", d.device},
                                           {"layers", d.layers},
                                           {"weights", d.weights},
                                           {"kv", d.kv},
                                           {"scratch", d.scratch},
                                           {"total", d.weights + d.kv + d.scratch},
                                           {"memory", d.memory},
                                           {"fits", d.fits},
                                           {"obstacle", d.obstacle}});
        print_json(document);
    } else {
        const auto row = [](const char* what, std::uint64_t bytes, const std::string& remark) {
            return fmt::format("{:<12}{:>12}{}{}\n", what, human_bytes(bytes), remark.empty() ? "" : "   ", remark);
        };
        std::string text = fmt::format("{}, {}, {} parameters\n\n", printable(info.name), info.format,
                                       human_count(info.parameters));
        text += row("weights", plan.weights, "mapped from the file");
        text += row("KV cache", plan.kv,
                    fmt::format("{} × {} positions, {}, {} each", sequences(options.parallel), with_commas(plan.context),
                                name_of(options.kv_type), human_bytes(plan.kv_per_token)));
        text += row("scratch", plan.scratch, "intermediate results");
        text += row("total", plan.total, "");
        if (plan.budget > 0) text += row(limited ? "budget" : "available", plan.budget, "");
        if (devices || plan.devices.size() > 1) {
            text += "\n";
            for (const DevicePlan& d : plan.devices)
                text += fmt::format("{}: {}, {} of weights, {} of KV cache, {} of scratch: {}{}{}\n",
                                    printable(d.device), layers(d.layers), human_bytes(d.weights), human_bytes(d.kv),
                                    human_bytes(d.scratch), human_bytes(d.weights + d.kv + d.scratch),
                                    d.memory > 0 ? fmt::format(" of {}", human_bytes(d.memory)) : "",
                                    d.fits ? "" : ", which does not fit");
        }
        text += layers_left(plan, options.runtime.backend);
        if (options.context == 0 && plan.context < info.context_length)
            text += fmt::format(
                "The context is shorter than the {} positions that the model was trained for; --ctx keeps a "
                "length.\n",
                with_commas(info.context_length));
        text += "\n";
        if (plan.fits) {
            text += fmt::format("It fits. With these weights there is room for one sequence of {} positions, or {} of {}.\n",
                                with_commas(plan.max_context), sequences(plan.max_parallel), with_commas(plan.context));
            if (plan.max_context >= info.context_length)
                text += fmt::format("The model was trained for {} positions.\n", with_commas(info.context_length));
            if (weights_give_way)
                text += "All together is more than is available now: parts of the weights would be read again and again from "
                        "the disk.\n";
        }
        print_out(text);
    }
    if (plan.fits) return 0;
    if (!weights_fit)
        print_error(fmt::format("the weights alone need {}, and the budget is {}; a smaller model, a format of fewer bits, or "
                                "a larger --budget would fit",
                                human_bytes(plan.weights), human_bytes(plan.budget)));
    else if (const auto full = std::find_if(plan.devices.begin(), plan.devices.end(),
                                            [](const DevicePlan& d) { return d.copied && !d.fits; });
             full != plan.devices.end())
        print_error(fmt::format(
            "{} of {} positions: {}; --gpu-layers {} would fit, and without a number as many lie there as "
            "fit",
            sequences(options.parallel), with_commas(plan.context),
            full->obstacle.empty() ? fmt::format("{} are needed on {}, where {} are free",
                                                 human_bytes(full->weights + full->kv + full->scratch),
                                                 full->device, human_bytes(full->memory))
                                   : full->obstacle,
            plan.layers_fit));
    else if (!plan.less_kv.empty())
        print_error(fmt::format("{} of {} positions do not fit at once: {}; {}", sequences(options.parallel),
                                with_commas(plan.context), plan.less_kv, advice(model, plan, options)));
    else
        print_error(fmt::format("{} of {} positions need {}{}, and {} {}; {}", sequences(options.parallel),
                                with_commas(plan.context), human_bytes(plan.total - (limited ? 0 : plan.weights)),
                                limited ? "" : " beside the weights", limited ? "the budget is" : "there are",
                                human_bytes(plan.budget), advice(model, plan, options)));
    return kFailed;
}

}  // namespace

void add_plan(CLI::App& program, Action& action) {
    const auto o = std::make_shared<PlanOptions>();
    CLI::App* command = add_command(program, action, "plan", "Shows the memory that a model will take, and what fits.", o, run);
    command->add_option("--ctx", o->context, "positions of one sequence (the model's)")
        ->option_text("N")
        ->check(CLI::PositiveNumber);
    command->add_option("--parallel", o->parallel, "sequences at once (1)")->option_text("N")->check(CLI::Range(1, 4096));
    add_kv_type_option(command, o->kv_type);
    add_size_option(command, "--budget", o->runtime.memory, "the same as --memory");
    command->add_flag("--json", o->json, "in bytes, as one JSON document");
    add_model_option(command, o->model);
    add_runtime_options(command, o->runtime);
    command->footer("Example:\n  tern plan -m model.gguf --ctx 8192 --parallel 4 --budget 8G");
}

}  // namespace tern::cli
