// tern devices: what can compute here, what of it is used and why something is not.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "common.h"

namespace tern::cli {
namespace {

struct DevicesOptions {
    bool json = false;
};

std::string joined(const std::vector<std::string>& list) {
    std::string text;
    for (const std::string& item : list) text += (text.empty() ? "" : ", ") + item;
    return text;
}

int devices(const DevicesOptions& options) {
    const std::vector<DeviceInfo> list = list_devices();
    if (options.json) {
        nlohmann::ordered_json all = nlohmann::ordered_json::array();
        for (const DeviceInfo& d : list)
            all.push_back({{"backend", d.backend},
                           {"name", d.name},
                           {"kind", d.kind},
                           {"driver", d.driver},
                           {"memory_bytes", d.memory},
                           {"budget_bytes", d.budget},
                           {"enabled", d.enabled},
                           {"disabled", d.disabled},
                           {"unusable", d.unusable},
                           {"chosen", d.chosen}});
        print_out(all.dump(2) + "\n");
        return 0;
    }
    std::size_t number = 0;
    for (const DeviceInfo& d : list) {
        const std::string label =
            d.backend == "cpu" || d.name.empty() ? d.backend : fmt::format("{} {}", d.backend, number++);
        if (d.name.empty()) {
            print_out(fmt::format("{:<10}none: {}\n", label, d.unusable));
            continue;
        }
        print_out(fmt::format(
            "{:<10}{} ({}{}){}\n", label, d.name, d.kind == "cpu" ? std::string() : d.kind + ", ",
            fmt::format("{:.1f} GiB{}", static_cast<double>(d.memory) / static_cast<double>(GiB),
                        d.budget ? fmt::format(", {:.1f} GiB of it free for tern now",
                                               static_cast<double>(d.budget) / static_cast<double>(GiB))
                                 : ""),
            d.chosen && d.backend != "cpu" ? ", taken by --backend vulkan" : ""));
        if (!d.driver.empty()) print_out(fmt::format("{:<10}driver: {}\n", "", d.driver));
        if (!d.unusable.empty()) print_out(fmt::format("{:<10}not usable: {}\n", "", d.unusable));
        if (!d.enabled.empty()) print_out(fmt::format("{:<10}on:  {}\n", "", joined(d.enabled)));
        for (const std::string& off : d.disabled) print_out(fmt::format("{:<10}off: {}\n", "", off));
    }
    return 0;
}

}  // namespace

void add_devices(CLI::App& program, Action& action) {
    const auto options = std::make_shared<DevicesOptions>();
    CLI::App* command = add_command(program, action, "devices",
                                    "Lists what can compute here, and what of it is used.", options, devices);
    command->add_flag("--json", options->json, "one JSON document");
    command->footer("Example:\n  tern devices");
}

}  // namespace tern::cli
