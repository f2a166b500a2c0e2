#include "chat/dates.h"

#include <array>
#include <charconv>
#include <ctime>
#include <optional>

#include <fmt/format.h>

#include <tern/error.h>

namespace tern::chat {
namespace {

constexpr std::array<std::string_view, 12> kMonths = {"January", "February", "March",     "April",   "May",      "June",
                                                      "July",    "August",   "September", "October", "November", "December"};
constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};

struct Moment {
    int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
    int week_day = 0, year_day = 0;  // from 0, Sunday and 1 January
};

bool is_leap(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

int days_in(int year, int month) {
    constexpr std::array<int, 12> days = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[static_cast<std::size_t>(month - 1)] + (month == 2 && is_leap(year) ? 1 : 0);
}

std::optional<Moment> parse(std::string_view text) {
    constexpr std::string_view shape = "0000-00-00T00:00:00";
    if (text.size() != shape.size()) return std::nullopt;
    for (std::size_t i = 0; i < shape.size(); ++i) {
        const bool digit = text[i] >= '0' && text[i] <= '9';
        if (shape[i] == '0' ? !digit : text[i] != shape[i]) return std::nullopt;
    }
    const auto number = [&](std::size_t at, std::size_t count) {
        int out = 0;
        std::from_chars(text.data() + at, text.data() + at + count, out);
        return out;
    };
    Moment m{number(0, 4), number(5, 2), number(8, 2), number(11, 2), number(14, 2), number(17, 2)};
    if (m.year < 1 || m.month < 1 || m.month > 12 || m.day < 1 || m.day > days_in(m.year, m.month) || m.hour > 23 ||
        m.minute > 59 || m.second > 59)
        return std::nullopt;
    m.year_day = m.day - 1;
    for (int month = 1; month < m.month; ++month) m.year_day += days_in(m.year, month);
    // 1 January of year 1 was a Monday in the Gregorian calendar.
    const int before = m.year - 1;
    m.week_day = (before * 365 + before / 4 - before / 100 + before / 400 + m.year_day + 1) % 7;
    return m;
}

Moment local_time() {
    const std::time_t seconds = std::time(nullptr);
    std::tm t{};
    localtime_r(&seconds, &t);
    return {t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, t.tm_wday, t.tm_yday};
}

std::string number(int value, int width, char pad) {
    if (pad == '-') return fmt::format("{}", value);
    return pad == '_' ? fmt::format("{:>{}}", value, width) : fmt::format("{:0>{}}", value, width);
}

// One directive, or nothing where it is not known. `pad` is glibc's flag: - for none, _ for spaces.
std::optional<std::string> directive(char c, char pad, const Moment& m) {
    const auto day = kDays[static_cast<std::size_t>(m.week_day)];
    const auto month = kMonths[static_cast<std::size_t>(m.month - 1)];
    const int hour12 = m.hour % 12 == 0 ? 12 : m.hour % 12;
    const char spaces = pad == 0 ? '_' : pad;
    const auto all = [&](std::string_view format) {
        std::string out;
        for (const char d : format) out += d >= 'A' ? *directive(d, 0, m) : std::string(1, d);
        return out;
    };
    switch (c) {
        case 'Y': return fmt::format("{}", m.year);
        case 'C': return number(m.year / 100, 2, pad);
        case 'y': return number(m.year % 100, 2, pad);
        case 'm': return number(m.month, 2, pad);
        case 'd': return number(m.day, 2, pad);
        case 'e': return number(m.day, 2, spaces);
        case 'H': return number(m.hour, 2, pad);
        case 'k': return number(m.hour, 2, spaces);
        case 'I': return number(hour12, 2, pad);
        case 'l': return number(hour12, 2, spaces);
        case 'M': return number(m.minute, 2, pad);
        case 'S': return number(m.second, 2, pad);
        case 'j': return number(m.year_day + 1, 3, pad);
        case 'p': return m.hour < 12 ? "AM" : "PM";
        case 'P': return m.hour < 12 ? "am" : "pm";
        case 'A': return std::string(day);
        case 'a': return std::string(day.substr(0, 3));
        case 'B': return std::string(month);
        case 'b':
        case 'h': return std::string(month.substr(0, 3));
        case 'w': return fmt::format("{}", m.week_day);
        case 'u': return fmt::format("{}", m.week_day == 0 ? 7 : m.week_day);
        case 'U': return number((m.year_day + 7 - m.week_day) / 7, 2, pad);
        case 'W': return number((m.year_day + 7 - (m.week_day + 6) % 7) / 7, 2, pad);
        case 'F': return all("Y-m-d");
        case 'T':
        case 'X': return all("H:M:S");
        case 'R': return all("H:M");
        case 'D':
        case 'x': return all("m/d/y");
        case 'r': return all("I:M:S p");
        case 'c': return all("a b e H:M:S Y");
        case 'f': return "000000";
        case 'Z':
        case 'z': return "";  // a date without a zone, as datetime.now() is
        case 'n': return "\n";
        case 't': return "\t";
        case '%': return "%";
        default: return std::nullopt;
    }
}

}  // namespace

std::string format_date(std::string_view format, const std::string& now) {
    const std::optional<Moment> given = parse(now);
    const Moment moment = given ? *given : local_time();
    std::string out;
    for (std::size_t at = 0; at < format.size(); ++at) {
        if (format[at] != '%' || at + 1 == format.size()) {
            out += format[at];
            continue;
        }
        const char flag = format[at + 1];
        const bool has_flag = (flag == '-' || flag == '_' || flag == '0') && at + 2 < format.size();
        const std::size_t end = at + (has_flag ? 2 : 1);
        const auto text = directive(format[end], has_flag ? flag : char{0}, moment);
        out += text ? *text : std::string(format.substr(at, end + 1 - at));
        at = end;
    }
    return out;
}

void check_date(const std::string& now) {
    if (!now.empty() && !parse(now))
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("'{}' is no date and time; write it as 2026-01-15T12:00:00", now));
}

}  // namespace tern::chat
