// The methods of strings, lists and dicts that templates may call.
#pragma once

#include "chat/args.h"
#include "chat/value.h"

namespace tern::chat {

using Method = Value (*)(Context& context, const Value& self, const Args& args);

// A bound method of that name, where the type has it.
bool find_method(Context& context, const Value& self, std::string_view name, Value& out);

// The tables. Null: none.
Method find_string_method(std::string_view name) noexcept;
Method find_list_method(std::string_view name) noexcept;
Method find_dict_method(std::string_view name) noexcept;

}  // namespace tern::chat
