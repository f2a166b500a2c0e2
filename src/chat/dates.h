// The date that a template asks for.
#pragma once

#include <string>
#include <string_view>

namespace tern::chat {

// strftime of the C locale, whatever the program's is. `now` is YYYY-MM-DDTHH:MM:SS, empty for the local time of the
// clock. A directive that is not known stays as it is.
std::string format_date(std::string_view format, const std::string& now);

// Error(invalid_argument) unless `now` names a date and time.
void check_date(const std::string& now);

}  // namespace tern::chat
