#include "chat/json.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace tern::chat {
namespace {

// Containers within containers that messages may have.
constexpr std::size_t kMaxJsonDepth = 200;

// Builds values from the parser's events, so that no second tree is made.
class Builder {
public:
    explicit Builder(Context& context) : context_(context) {}

    Value result() const { return result_; }
    const std::string& problem() const { return problem_; }

    bool null() { return add(Value::none()); }
    bool boolean(bool b) { return add(Value::of(b)); }
    bool number_integer(std::int64_t i) { return add(Value::of(i)); }
    bool number_unsigned(std::uint64_t u) {
        if (u > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
            return add(Value::of(static_cast<double>(u)));
        return add(Value::of(static_cast<std::int64_t>(u)));
    }
    bool number_float(double d, const std::string&) { return add(Value::of(d)); }
    bool string(std::string& s) {
        const bool role = !stack_.empty() && stack_.back().is(Kind::dict) && keys_.back().view() == "role";
        return add(context_.string(role ? Text::role(std::move(s)) : Text::foreign(std::move(s))));
    }
    bool binary(std::vector<std::uint8_t>&) { return false; }
    bool start_object(std::size_t) { return open(Value::of(context_.new_dict())); }
    bool key(std::string& s) {
        keys_.back() = context_.string(Text::foreign(std::move(s)));
        return true;
    }
    bool end_object() { return close(); }
    bool start_array(std::size_t) { return open(Value::of(context_.new_list())); }
    bool end_array() { return close(); }
    bool parse_error(std::size_t at, const std::string&, const std::exception& e) {
        // The parser's message begins with a number of its own in brackets.
        const std::string message = e.what();
        const std::size_t begin = message.find("] ");
        problem_ = fmt::format("byte {}: {}", at, begin == std::string::npos ? message : message.substr(begin + 2));
        return false;
    }

private:
    bool add(const Value& value) {
        if (stack_.empty())
            result_ = value;
        else if (stack_.back().is(Kind::list))
            context_.push(*stack_.back().list, value);
        else
            stack_.back().dict->set(context_, keys_.back(), value);
        return true;
    }
    bool open(const Value& container) {
        add(container);
        if (stack_.size() == kMaxJsonDepth) {
            problem_ = fmt::format("more than {} levels of arrays and objects", kMaxJsonDepth);
            return false;
        }
        stack_.push_back(container);
        keys_.emplace_back();
        return true;
    }
    bool close() {
        stack_.pop_back();
        keys_.pop_back();
        return true;
    }

    Context& context_;
    Value result_;
    std::vector<Value> stack_;
    std::vector<Value> keys_;
    std::string problem_;
};

void escape(char32_t c, bool ensure_ascii, std::string& out) {
    switch (c) {
        case '"': out = "\\\""; return;
        case '\\': out = "\\\\"; return;
        case '\n': out = "\\n"; return;
        case '\r': out = "\\r"; return;
        case '\t': out = "\\t"; return;
        case '\b': out = "\\b"; return;
        case '\f': out = "\\f"; return;
        default: break;
    }
    const auto code = static_cast<std::uint32_t>(c);
    if (code < 0x20 || (ensure_ascii && code > 0x7E && code < 0x10000)) {
        out = fmt::format("\\u{:04x}", code);
    } else if (ensure_ascii && code >= 0x10000) {
        const std::uint32_t rest = code - 0x10000;
        out = fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    } else {
        utf8::append(c, out);
    }
}

class Writer {
public:
    Writer(Context& context, const JsonStyle& style) : context_(context), style_(style) {}

    Text run(const Value& value) {
        write(value);
        return std::move(out_);
    }

private:
    void write(const Value& value) {
        const Deeper deeper(context_);
        if (out_.size() > kMaxStringBytes) context_.charge_bytes(out_.size());
        switch (value.kind) {
            case Kind::none: out_.append("null"); return;
            case Kind::boolean: out_.append(value.boolean ? "true" : "false"); return;
            case Kind::integer: out_.append(std::to_string(value.integer)); return;
            case Kind::real: out_.append(real(value.real)); return;
            case Kind::string: string(*value.text); return;
            case Kind::list:
            case Kind::tuple: array(value.list->items); return;
            case Kind::dict: object(value.dict->items); return;
            case Kind::undefined:
                context_.fail(fmt::format("tojson: Object of type Undefined is not JSON serializable{}{}",
                                          value.why ? ": " : "", value.why ? *value.why : ""));
            default: context_.fail(fmt::format("tojson: Object of type {} is not JSON serializable", type_name(value)));
        }
    }

    static std::string real(double d) {
        if (std::isnan(d)) return "NaN";
        if (std::isinf(d)) return d < 0 ? "-Infinity" : "Infinity";
        return real_text(d);
    }

    void string(const Text& text) {
        context_.charge_bytes(text.size());
        out_.append("\"");
        out_.append(map_code_points(text, [&](char32_t c, std::size_t, std::string& piece) {
            escape(c, style_.ensure_ascii, piece);
        }));
        out_.append("\"");
    }

    void line_break() {
        if (!style_.indent) return;
        context_.charge_bytes(level_ * style_.indent->size());
        out_.append("\n");
        for (std::size_t i = 0; i < level_; ++i) out_.append(*style_.indent);
    }

    void array(const std::vector<Value>& items) {
        if (items.empty()) return out_.append("[]");
        out_.append("[");
        ++level_;
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (i > 0) out_.append(style_.item_separator);
            line_break();
            write(items[i]);
        }
        --level_;
        line_break();
        out_.append("]");
    }

    void object(std::vector<std::pair<Value, Value>> items) {
        if (items.empty()) return out_.append("{}");
        context_.charge(items.size());
        if (style_.sort_keys)
            std::stable_sort(items.begin(), items.end(),
                             [&](const auto& a, const auto& b) { return less(context_, a.first, b.first); });
        out_.append("{");
        ++level_;
        bool first = true;
        for (const auto& [key, value] : items) {
            if (!first) out_.append(style_.item_separator);
            first = false;
            line_break();
            name(key);
            out_.append(style_.key_separator);
            write(value);
        }
        --level_;
        line_break();
        out_.append("}");
    }

    void name(const Value& key) {
        if (key.is(Kind::string)) return string(*key.text);
        if (!key.is_number() && !key.is(Kind::none))
            context_.fail(fmt::format("tojson: keys must be strings, numbers or none, not {}", type_name(key)));
        out_.append("\"");
        write(key);
        out_.append("\"");
    }

    Context& context_;
    const JsonStyle& style_;
    Text out_;
    std::size_t level_ = 0;
};

}  // namespace

Value parse_json(Context& context, std::string_view json, std::string_view what) {
    context.charge_bytes(json.size());
    Builder builder(context);
    if (!nlohmann::json::sax_parse(json.begin(), json.end(), &builder))
        throw Error(ErrorCode::invalid_argument, one_line(fmt::format("{}: not valid JSON: {}", what, builder.problem())));
    return builder.result();
}

Text to_json(Context& context, const Value& value, const JsonStyle& style) {
    return Writer(context, style).run(value);
}

}  // namespace tern::chat
