// The values of a template: what Python's are to Jinja. Everything that a render makes lives in its Context and goes
// with it, so values are handles without ownership, and a structure that contains itself cannot leak or overflow the
// stack when it goes.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <tern/error.h>

#include "chat/text.h"

namespace tern::chat {

// What one render may cost: about a second, and some hundred MiB at worst. A step is one unit; so are a few bytes of a
// string that is made.
inline constexpr std::uint64_t kMaxWork = std::uint64_t{1} << 24;
inline constexpr std::uint64_t kBytesPerUnit = 8;
inline constexpr std::uint64_t kUnitsPerElement = 4;
// Longest string, the result included.
inline constexpr std::size_t kMaxStringBytes = std::size_t{1} << 26;
// Elements of range(), as Jinja's own sandbox limits it.
inline constexpr std::int64_t kMaxRange = 100000;
// Nested evaluation: blocks, calls, and the values that are walked.
inline constexpr std::uint32_t kMaxDepth = 800;

class Context;
class Object;
struct List;
struct Dict;

enum class Kind : std::uint8_t {
    undefined,
    none,
    boolean,
    integer,
    real,
    string,
    list,
    tuple,
    generator,  // what Jinja's lazy filters give: iterable, always true
    dict,
    object,
};

struct Value {
    Kind kind = Kind::undefined;
    union {
        const std::string* why;  // undefined: what is missing; may be null
        bool boolean;
        std::int64_t integer;
        double real;
        const Text* text;
        List* list;  // list, tuple, generator
        Dict* dict;
        Object* object;
    };

    Value() noexcept : why(nullptr) {}
    static Value none() noexcept;
    static Value of(bool b) noexcept;
    static Value of(std::int64_t i) noexcept;
    static Value of(double d) noexcept;
    static Value of(const Text* t) noexcept;
    static Value of(List* l, Kind k = Kind::list) noexcept;
    static Value of(Dict* d) noexcept;
    static Value of(Object* o) noexcept;

    bool is(Kind k) const noexcept { return kind == k; }
    bool is_sequence() const noexcept { return kind == Kind::list || kind == Kind::tuple || kind == Kind::generator; }
    bool is_integral() const noexcept { return kind == Kind::integer || kind == Kind::boolean; }
    bool is_number() const noexcept { return is_integral() || kind == Kind::real; }
    std::int64_t as_integer() const noexcept { return kind == Kind::boolean ? (boolean ? 1 : 0) : integer; }
    double as_real() const noexcept { return kind == Kind::real ? real : static_cast<double>(as_integer()); }
    std::string_view view() const noexcept { return text->view(); }
};

struct List {
    std::vector<Value> items;
    bool group = false;  // a tuple of groupby, whose parts are also named grouper and list
};

// Keeps the order of insertion.
struct Dict {
    std::vector<std::pair<Value, Value>> items;

    const Value* find(Context& context, const Value& key) const;
    const Value* find(std::string_view key) const;
    void set(Context& context, const Value& key, const Value& value);
    bool erase(Context& context, const Value& key);

private:
    std::unordered_map<std::string, std::size_t> index_;
};

struct Args {
    std::vector<Value> positional;
    std::vector<std::pair<std::string, Value>> named;
};

class Object {
public:
    virtual ~Object() = default;
    virtual const char* type_name() const noexcept = 0;
    virtual bool callable() const noexcept { return false; }
    virtual Value call(Context& context, const Args& args);
    // False: there is no such attribute.
    virtual bool get(Context& context, std::string_view name, Value& out);
};

// Attributes that a template may set.
class Namespace : public Object {
public:
    const char* type_name() const noexcept override { return "Namespace"; }
    bool get(Context& context, std::string_view name, Value& out) override;
    Dict values;
};

// What one render owns and spends.
class Context {
public:
    explicit Context(std::string now) : now_(std::move(now)) {}
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    // The line of the template that is running.
    std::uint32_t line = 0;
    [[noreturn]] void fail(const std::string& message, ErrorCode code = ErrorCode::invalid_argument) const;

    void charge(std::uint64_t units) {
        if (units > left_) out_of_work();
        left_ -= units;
    }
    void charge_bytes(std::size_t bytes) {
        if (bytes > kMaxStringBytes) too_long(bytes);
        charge(1 + bytes / kBytesPerUnit);
    }

    Value string(Text text);
    Value string(std::string own) { return string(Text(std::move(own))); }
    Value undefined(std::string why);
    List* new_list(std::size_t elements = 0);  // `elements` are paid for; none is made
    Dict* new_dict();
    void push(List& list, const Value& value) {
        charge(kUnitsPerElement);
        list.items.push_back(value);
    }
    template <class T, class... A>
    T* make(A&&... args) {
        charge(2 * kUnitsPerElement);
        objects_.push_back(std::make_unique<T>(std::forward<A>(args)...));
        return static_cast<T*>(objects_.back().get());
    }

    const std::string& now() const noexcept { return now_; }  // YYYY-MM-DDTHH:MM:SS; empty: the clock

private:
    friend class Deeper;
    [[noreturn]] void out_of_work() const;
    [[noreturn]] void too_long(std::size_t bytes) const;
    [[noreturn]] void too_deep() const;

    std::string now_;
    std::uint64_t left_ = kMaxWork;
    std::uint32_t depth_ = 0;
    std::deque<Text> texts_;
    std::deque<List> lists_;
    std::deque<Dict> dicts_;
    std::deque<std::string> reasons_;
    std::deque<std::unique_ptr<Object>> objects_;
};

// One level of recursion, for as long as it lives.
class Deeper {
public:
    explicit Deeper(Context& context) : context_(context) {
        context.charge(1);
        if (context.depth_ >= kMaxDepth) context.too_deep();
        ++context.depth_;
    }
    ~Deeper() { --context_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

private:
    Context& context_;
};

// ---- what Python does with values ----------------------------------------------------------------------------------

const char* type_name(const Value& value) noexcept;  // "str", "dict", "NoneType"
bool truth(const Value& value) noexcept;
bool equal(Context& context, const Value& a, const Value& b);
bool less(Context& context, const Value& a, const Value& b);
bool contains(Context& context, const Value& container, const Value& item);
// The values that iterating gives: characters, elements, keys. Fails where the value cannot be iterated.
std::vector<Value> iterate(Context& context, const Value& value);
bool is_iterable(const Value& value) noexcept;
std::size_t length(Context& context, const Value& value);
Text to_text(Context& context, const Value& value);  // str()
Text repr(Context& context, const Value& value);
std::string real_text(double value);  // repr() of a float
// Fails on an undefined value, with what is missing.
void require_defined(Context& context, const Value& value);

// The binary operators: + - * / // % **
enum class Operator : std::uint8_t { add, subtract, multiply, divide, floor_divide, modulo, power };
Value arithmetic(Context& context, Operator op, const Value& a, const Value& b);
Value negative(Context& context, const Value& value);

// value.name and value[key]; undefined where there is none.
Value attribute(Context& context, const Value& value, std::string_view name);
Value item(Context& context, const Value& value, const Value& key);
// value[start:stop:step], none for what is left out.
Value slice(Context& context, const Value& value, const Value& start, const Value& stop, const Value& step);

Value call(Context& context, const Value& callee, const Args& args);

}  // namespace tern::chat
