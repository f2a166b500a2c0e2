// Filters, tests and functions of the environment that chat templates are written for.
#pragma once

#include <string_view>

#include "chat/interpreter.h"
#include "chat/value.h"

namespace tern::chat {

// Fail for a name that is not known.
Value apply_filter(Context& context, std::string_view name, const Value& subject, const Args& args);
bool apply_test(Context& context, std::string_view name, const Value& subject, const Args& args);

// range, namespace, dict, cycler, joiner, raise_exception, strftime_now.
void add_functions(Context& context, Globals& globals);

// One row of a table of filters. Null: none of that name.
using Filter = Value (*)(Context& context, const Value& subject, const Args& args);
Filter find_text_filter(std::string_view name) noexcept;
Filter find_list_filter(std::string_view name) noexcept;
Filter find_choice_filter(std::string_view name) noexcept;

// value, or its part that a path such as "function.name" or "0.id" leads to.
Value value_at(Context& context, const Value& value, const Value& path);

}  // namespace tern::chat
