#include "chat/args.h"

#include <algorithm>

#include <fmt/format.h>

namespace tern::chat {

Bound::Bound(Context& context, std::string_view callee, const Args& args, std::initializer_list<std::string_view> names)
    : context_(context), callee_(callee), names_(names), values_(names.size()), given_(names.size()) {
    if (args.positional.size() > names_.size())
        context.fail(fmt::format("{}() takes at most {} arguments, {} were given", callee, names_.size(),
                                 args.positional.size()));
    for (std::size_t i = 0; i < args.positional.size(); ++i) {
        values_[i] = args.positional[i];
        given_[i] = true;
    }
    for (const auto& [name, value] : args.named) {
        const auto at = static_cast<std::size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin());
        if (at == names_.size()) context.fail(fmt::format("{}() has no parameter '{}'", callee, name));
        if (given_[at]) context.fail(fmt::format("{}() got two values for its parameter '{}'", callee, name));
        values_[at] = value;
        given_[at] = true;
    }
}

const Value& Bound::need(std::size_t i) const {
    if (!given_[i]) context_.fail(fmt::format("{}() needs its argument '{}'", callee_, names_[i]));
    return values_[i];
}

std::int64_t Bound::integer(std::size_t i, std::int64_t fallback) const {
    if (!given_[i]) return fallback;
    require_defined(context_, values_[i]);
    if (!values_[i].is_integral())
        context_.fail(fmt::format("{}(): '{}' must be an integer, not {}", callee_, names_[i], type_name(values_[i])));
    return values_[i].as_integer();
}

const Text& Bound::text(std::size_t i) const {
    require_defined(context_, need(i));
    if (!values_[i].is(Kind::string))
        context_.fail(fmt::format("{}(): '{}' must be a string, not {}", callee_, names_[i], type_name(values_[i])));
    return *values_[i].text;
}

Text Bound::text(std::size_t i, std::string_view fallback) const {
    return given_[i] ? text(i) : Text(std::string(fallback));
}

}  // namespace tern::chat
