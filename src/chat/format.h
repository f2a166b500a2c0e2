// Python's two ways to format: "%s" % value and "{}".format(value).
#pragma once

#include "chat/value.h"

namespace tern::chat {

Text format_percent(Context& context, const Text& format, const Value& value);
Text format_braces(Context& context, const Text& format, const Args& args);

}  // namespace tern::chat
