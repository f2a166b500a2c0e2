// Binds the arguments of a call to the names of its parameters, as Python does.
#pragma once

#include <initializer_list>
#include <string_view>

#include "chat/value.h"

namespace tern::chat {

class Bound {
public:
    // Too many arguments, an unknown or a repeated name: fails and names `callee`.
    Bound(Context& context, std::string_view callee, const Args& args, std::initializer_list<std::string_view> names);

    bool has(std::size_t i) const { return given_[i]; }
    // Fails where the argument is missing.
    const Value& need(std::size_t i) const;
    Value get(std::size_t i, const Value& fallback) const { return given_[i] ? values_[i] : fallback; }
    bool flag(std::size_t i, bool fallback) const { return given_[i] ? truth(values_[i]) : fallback; }
    // Fail where the argument is of another type.
    std::int64_t integer(std::size_t i, std::int64_t fallback) const;
    const Text& text(std::size_t i) const;  // needed
    Text text(std::size_t i, std::string_view fallback) const;

private:
    Context& context_;
    std::string_view callee_;
    std::vector<std::string_view> names_;
    std::vector<Value> values_;
    std::vector<bool> given_;
};

}  // namespace tern::chat
